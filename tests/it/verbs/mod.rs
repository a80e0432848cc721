//! The verbs of CNI, end to end: a process, real etcd, and what stands there afterwards.

mod add;
mod anew;
mod check;
mod del;
mod durable;
mod gc;
mod invocation;
mod log;
mod ranges;
mod requested;
mod status;
mod streams;
mod versions;
