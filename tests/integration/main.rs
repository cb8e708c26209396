//! What needs real sockets, processes and sound.

mod circles;
mod pledges;
mod processes;
