//! A certificate authority that nobody knows, as in a company of its own: made for one test, by the
//! `openssl` command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::servers;

/// What the certificates say, but for the name. The authority signs servers on this machine only.
const CONFIGURATION: &str = "[req]\ndistinguished_name = name\nprompt = no\nx509_extensions = authority\n\
    [authority]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign\n\
    [server]\nbasicConstraints = CA:FALSE\nextendedKeyUsage = serverAuth\n\
    subjectAltName = DNS:localhost,IP:127.0.0.1\n\
    [name]\nCN = ";

/// An authority, and a server's certificate that it has signed. Everything is gone with it.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// A new one. By its name, and not by its key, it is looked for.
    pub fn new(called: &str) -> anyhow::Result<Self> {
        let folder = servers::folder("quittance-authority-")?;
        let made = Self { folder };
        fs::create_dir(made.trusted())?;
        fs::write(
            made.path("openssl.cnf"),
            format!("{CONFIGURATION}{called}\n"),
        )?;
        let key = ["-newkey", "rsa:2048", "-nodes", "-config", "openssl.cnf"];
        let authority = [
            "req",
            "-x509",
            "-days",
            "2",
            "-keyout",
            "ca.key",
            "-out",
            "trusted/ca.crt",
        ];
        made.openssl(&[&authority[..], &key].concat())?;
        let request = ["req", "-new", "-keyout", "server.key", "-out", "server.csr"];
        made.openssl(&[&request[..], &key].concat())?;
        let sign = [
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            "server.csr",
            "-out",
            "server.crt",
            "-CA",
            "trusted/ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "openssl.cnf",
            "-extensions",
            "server",
        ];
        made.openssl(&sign)?;
        Ok(made)
    }

    /// The folder in which the authority's certificate lies alone.
    pub fn trusted(&self) -> PathBuf {
        self.path("trusted")
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.trusted().join("ca.crt")
    }

    /// The certificate of a server on `localhost` or 127.0.0.1.
    pub fn server_certificate(&self) -> PathBuf {
        self.path("server.crt")
    }

    /// The key of that server.
    pub fn server_key(&self) -> PathBuf {
        self.path("server.key")
    }

    fn path(&self, name: &str) -> PathBuf {
        let folder: &Path = self.folder.path();
        folder.join(name)
    }

    fn openssl(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .context("openssl cannot be started")?;
        ensure!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}
