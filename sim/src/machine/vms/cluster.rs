//! What an operator puts on the machines of a [`Site`]: the files, and the packages' own units.

use super::payload;
use super::site::Site;
use super::tutorial::section;
use crate::error::Result;
use onehold_core::config::Arbitration;

/// For scenarios that are not about timing: an emulated machine on a busy one must not flap.
pub(super) const SLOW: &str = "interval = \"300ms\"\nlease = \"1500ms\"\n";

/// The binary, the unit files and the tutorial's nginx, on all machines.
///
/// # Errors
/// If one of it fails.
pub(super) fn install(site: &mut Site) -> Result<()> {
    for name in site.names() {
        site.on(name).sh(payload::INSTALL)?;
        site.on(name).sh("mkdir -p /etc/onehold")?;
        let secret = "this is the secret of a lab, and of nothing else\n";
        site.write(name, "/etc/onehold/secret", secret)?;
    }
    for name in ["lb0", "lb1"] {
        serve(site, name)?;
    }
    Ok(())
}

/// The tutorial's section with nginx.
///
/// # Errors
/// If a command fails.
pub(super) fn serve(site: &mut Site, name: &str) -> Result<()> {
    let answers = section("Something that answers")?;
    site.write(
        name,
        "/etc/nginx/sites-enabled/failovertest",
        answers.block("nginx")?,
    )?;
    site.on(name)
        .sh("chmod 644 /etc/nginx/sites-enabled/failovertest")?;
    for command in answers.commands() {
        // It is in the image.
        if !command.starts_with("apt-get install") {
            site.on(name).sh(&command)?;
        }
    }
    Ok(())
}

/// The cluster of the tutorial, with its members by these addresses and with this `[timing]`.
pub(super) struct VmCluster {
    pub(super) arbitration: Arbitration,
    pub(super) timing: &'static str,
    /// By host name, and not by address.
    pub(super) names: bool,
    /// More tables of the candidates' group.
    pub(super) more: &'static str,
}

impl VmCluster {
    /// Two of three, with a witness.
    pub(super) fn majority() -> Self {
        Self {
            arbitration: Arbitration::Majority,
            timing: SLOW,
            names: false,
            more: "",
        }
    }

    /// Two alone.
    pub(super) fn survivor() -> Self {
        Self {
            arbitration: Arbitration::Survivor,
            ..Self::majority()
        }
    }

    /// The files, on all its machines.
    ///
    /// # Errors
    /// If one can't be written.
    pub(super) fn configure(&self, site: &mut Site) -> Result<()> {
        for name in ["lb0", "lb1"] {
            site.write(name, "/etc/onehold/onehold.toml", &self.file())?;
        }
        if self.arbitration == Arbitration::Majority {
            site.write("w", "/etc/onehold/witness.toml", &self.witness_file())?;
            site.on("w").sh(
                "install -m 600 -o onehold-witness /etc/onehold/secret /etc/onehold/web.secret; \
                 chmod 644 /etc/onehold/witness.toml",
            )?;
        }
        Ok(())
    }

    /// Configures and starts all, by their units; waits until lb0 holds and all is well, and has
    /// the network watched from then on.
    ///
    /// # Errors
    /// If that does not come.
    pub(super) fn start(&self, site: &mut Site) -> Result<()> {
        self.configure(site)?;
        if self.arbitration == Arbitration::Majority {
            site.on("w").sh("systemctl enable --now onehold-witness")?;
        }
        for name in ["lb0", "lb1"] {
            site.on(name).sh("systemctl enable --now onehold")?;
        }
        site.held_by("lb0", 30)?;
        site.all_well(&["lb0", "lb1"], 20)?;
        site.watch()
    }

    fn address(&self, name: &str, number: u8) -> String {
        match self.names {
            true => name.to_owned(),
            false => format!("10.0.0.{number}"),
        }
    }

    pub(super) fn file(&self) -> String {
        let mut text =
            "[cluster]\nname = \"web\"\nsecret_file = \"/etc/onehold/secret\"\n".to_owned();
        if self.arbitration == Arbitration::Survivor {
            text += "arbitration = \"survivor\"\n";
        }
        text += &self.tables("");
        text += "interface = \"eth0\"\n";
        text += self.more;
        text + "[timing]\n" + self.timing
    }

    fn witness_file(&self) -> String {
        let tables = self.tables("clusters.web.");
        let timing = self.timing;
        format!(
            "[clusters.web]\nsecret_file = \"web.secret\"\n{tables}[clusters.web.timing]\n{timing}"
        )
    }

    /// Members and groups; the group's table comes last, and is open.
    fn tables(&self, prefix: &str) -> String {
        let mut text = String::new();
        for (name, number, and) in [("lb0", 10, "preferred = true\n"), ("lb1", 11, "")] {
            let address = self.address(name, number);
            text += &format!("[{prefix}members.{name}]\naddresses = [\"{address}\"]\n{and}");
        }
        if self.arbitration == Arbitration::Majority {
            let address = self.address("w", 12);
            text += &format!("[{prefix}members.w]\naddresses = [\"{address}\"]\nwitness = true\n");
        }
        text + &format!(
            "[{prefix}groups.web]\naddresses = [\"10.0.0.50/24\"]\nfailback_delay = \"0s\"\n"
        )
    }
}
