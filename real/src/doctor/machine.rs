//! The machine: a provider's, in whose network an address does not move by ARP?

use super::Examination;
use super::found::Found;
use super::patient::{Patient, text};
use std::path::Path;

pub(super) const EXAMINATION: Examination = Examination {
    finds: &["cloud"],
    look,
};

const DMI: &str = "/sys/class/dmi/id";
/// What the asset tag of a machine in Azure is; Hyper-V's own machines differ in nothing else.
const AZURE: &str = "7783-7084-3265-9085-8269-3286-77";

/// In `sys_vendor`, `product_name` or `chassis_asset_tag`: whose networks lead packets by a table.
const CLOUDS: [(&str, &str); 11] = [
    ("Amazon EC2", "AWS"),
    ("Google", "Google Cloud"),
    (AZURE, "Azure"),
    ("Hetzner", "Hetzner Cloud"),
    ("DigitalOcean", "DigitalOcean"),
    ("Akamai", "Akamai (Linode)"),
    ("Linode", "Akamai (Linode)"),
    ("Vultr", "Vultr"),
    ("OracleCloud", "Oracle Cloud"),
    ("Alibaba Cloud", "Alibaba Cloud"),
    ("Scaleway", "Scaleway"),
];
/// Networks that drop what comes from an address that a port was not given.
const FILTERS: [(&str, &str); 1] = [("OpenStack", "OpenStack")];

fn look(p: &Patient, found: &mut Found) {
    if !p.is_candidate() {
        return found.skipped("cloud", "a witness holds no address");
    }
    let said = ["sys_vendor", "product_name", "chassis_asset_tag"];
    let said = said.map(|name| text(&Path::new(DMI).join(name)).unwrap_or_default());
    let said = said.map(|text| text.trim().to_owned());
    let of = |list: &[(&str, &'static str)]| {
        let is = |(mark, _): &&(&str, &'static str)| said.iter().any(|text| text.contains(mark));
        list.iter().find(is).map(|(_, name)| *name)
    };
    let what = virtual_machine(&said);
    if let Some(cloud) = of(&CLOUDS) {
        let file = &p.written.file;
        let groups = file.groups.iter().zip(&p.groups);
        let still = groups.filter(|((_, g), k)| k.announced && g.hooks.holding.is_none());
        let still: Vec<&str> = still.map(|((name, _), _)| name.as_str()).collect();
        return match still[..] {
            [] => found.fine(
                "cloud",
                format!("{cloud}: a hook moves each group, or a router"),
            ),
            _ => found.problem(
                "cloud",
                format!(
                    "this is a machine of {cloud}, and {} has no `holding` hook",
                    still.join(", ")
                ),
                "there the provider's table says where an address is, and ARP does not",
                "set up a mover: the book, Clouds",
            ),
        };
    }
    if let Some(cloud) = of(&FILTERS) {
        return found.fine(
            "cloud",
            format!("{cloud}: its port security is looked at on the holder (`port-security`)"),
        );
    }
    match what {
        Some(what) => found.fine("cloud", what),
        None => found.unknown("cloud", "what machine this is can't be seen", ""),
    }
}

/// What the machine is, as far as it says.
fn virtual_machine(dmi: &[String]) -> Option<String> {
    let xen = text(Path::new("/sys/hypervisor/type"));
    let named = dmi.join(" ");
    if !named.trim().is_empty() {
        return Some(named.trim().to_owned());
    }
    if let Some(xen) = xen {
        return Some(format!("a virtual machine ({})", xen.trim()));
    }
    let flags = text(Path::new("/proc/cpuinfo"))?;
    let hypervisor = flags.split_whitespace().any(|flag| flag == "hypervisor");
    Some(match hypervisor {
        true => "a virtual machine that says nothing of its kind".to_owned(),
        false => "a machine that says nothing of its kind".to_owned(),
    })
}
