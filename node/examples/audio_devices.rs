//! Lists the microphones and headphones that the window would offer.

use undertone_node::audio::{AudioError, AudioHost, Device, SystemHost};

fn show(title: &str, devices: Result<Vec<Device>, AudioError>) {
    println!("{title}");
    match devices {
        Ok(devices) if devices.is_empty() => println!("  none"),
        Ok(devices) => {
            for device in devices {
                let mark = if device.is_default { '*' } else { ' ' };
                println!("{mark} {} [{}]", device.name, device.id.0);
            }
        }
        Err(error) => println!("  {error}"),
    }
}

fn main() {
    let host = SystemHost::new();
    show("Microphones", host.inputs());
    show("Headphones and loudspeakers", host.outputs());
}
