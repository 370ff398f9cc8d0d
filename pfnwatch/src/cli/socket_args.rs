//! The option `--control-socket`.

use std::path::PathBuf;

use crate::os::control_socket::DEFAULT_PATH;

/// Where the control socket is.
#[derive(clap::Args, Clone, Debug)]
pub struct SocketArgs {
    /// Where the agent's control socket is
    #[arg(long = "control-socket", value_name = "PATH", default_value = DEFAULT_PATH)]
    pub path: PathBuf,
}
