pub mod net;
pub mod relay;
