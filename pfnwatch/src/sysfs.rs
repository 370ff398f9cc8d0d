//! What sysfs and the kernel's messages show: regions and namespaces, module events, cgroups.

mod busy;
pub mod cgroup;
pub mod inventory;
pub mod module_watch;
