//! What sysfs and the kernel's messages show: regions, namespaces and devices, messages about modules and devices, cgroups.

mod busy;
pub mod cgroup;
pub mod device_messages;
pub mod inventory;
pub mod module_watch;
mod uevents;
