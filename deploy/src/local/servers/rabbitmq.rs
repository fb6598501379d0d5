//! A private RabbitMQ node with its own name, ports, cookie and port mapper.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::local::private;

/// What the node and whoever talks to it agree upon.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its folder: settings, cookie, data, logs. Also its `HOME`.
    pub folder: PathBuf,
    /// The folder of RabbitMQ's scripts.
    pub sbin: PathBuf,
    /// Its Erlang name, such as `q1@localhost`. The data belong to the name.
    pub name: String,
    /// Where AMQP is spoken.
    pub amqp: SocketAddr,
    /// The port of the HTTP API, on the loopback interface.
    pub management_port: u16,
    /// The port of its own Erlang port mapper.
    pub epmd_port: u16,
    /// The port that `rabbitmqctl` reaches it by.
    pub dist_port: u16,
}

impl Node {
    /// Writes the settings files, `conf` at the end of `rabbitmq.conf`; nobody else may read them. A
    /// cookie that is there is kept.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_settings(&self, conf: &str) -> anyhow::Result<()> {
        let write = |name: &str, text: &str| private::write(&self.folder.join(name), text);
        let cookie = ".erlang.cookie";
        if !self.folder.join(cookie).exists() {
            write(cookie, &format!("{:032x}", rand::random::<u128>()))?;
        }
        write("enabled_plugins", "[rabbitmq_management].\n")?;
        write("env.conf", "")?;
        write("advanced.config", "[].\n")?;
        let settings = format!(
            "listeners.tcp.1 = {}\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {}\n\
             collect_statistics_interval = 1000\n\
             disk_free_limit.absolute = 50MB\n\
             log.console = true\n\
             log.file = false\n\
             {conf}\n",
            self.amqp, self.management_port,
        );
        write("rabbitmq.conf", &settings)
    }

    /// The port mapper, in the foreground.
    pub fn port_mapper(&self) -> Command {
        let mut command = Command::new("epmd");
        command
            .args(["-address", "127.0.0.1", "-port"])
            .arg(self.epmd_port.to_string());
        command
    }

    /// The node, in the foreground.
    pub fn server(&self) -> Command {
        let folder = self.folder.as_path();
        let mut command = self.script("rabbitmq-server");
        command
            .env("RABBITMQ_NODE_IP_ADDRESS", self.amqp.ip().to_string())
            .env("RABBITMQ_NODE_PORT", self.amqp.port().to_string())
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
            .env("RABBITMQ_LOG_BASE", folder.join("log"))
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
            .env(
                "RABBITMQ_ADVANCED_CONFIG_FILE",
                folder.join("advanced.config"),
            )
            .env(
                "RABBITMQ_ENABLED_PLUGINS_FILE",
                folder.join("enabled_plugins"),
            )
            .env("RABBITMQ_GENERATED_CONFIG_DIR", folder.join("generated"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none \
                 -kernel inet_dist_use_interface {127,0,0,1}",
            );
        command
    }

    /// One of RabbitMQ's own scripts, told about this node and nothing else.
    pub fn script(&self, script: &str) -> Command {
        let folder: &Path = &self.folder;
        let mut command = Command::new(self.sbin.join(script));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("HOME", folder)
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_CRASH_DUMP", "/dev/null")
            .env("RABBITMQ_CONF_ENV_FILE", folder.join("env.conf"))
            .env("RABBITMQ_NODENAME", &self.name)
            .current_dir(folder);
        command
    }
}
