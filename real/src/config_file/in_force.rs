//! The configuration in force, for another program of this process: the text that was read, and what
//! this host made of it. Nothing is read or looked up again, for a file may have changed since, and
//! names take their time.

use super::decided::decided;
use super::local_cluster::{WrittenCluster, interfaces_of, prove};
use super::{ConfigFile, LocalCluster, Source, WitnessFile};
use crate::secret::Secret;
use data_encoding::HEXLOWER;
use onehold_core::advert::ConfigDigest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One cluster's configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InForce {
    /// Its name.
    pub(crate) name: String,
    /// The file, and which of the texts it had.
    source: PathBuf,
    text: usize,
    in_table: bool,
    many: bool,
    member: String,
    endpoints: Vec<Vec<SocketAddr>>,
    remarks: Vec<String>,
    #[serde(with = "hexadecimal")]
    secrets: Vec<Secret>,
    digest: ConfigDigest,
}

/// Texts that were read; one of many tables is read once.
#[derive(Default)]
pub(crate) struct Read(BTreeMap<(usize, bool), BTreeMap<String, WrittenCluster>>);

impl LocalCluster {
    /// What another program needs; its text is found in, or added to, `texts`.
    pub(crate) fn in_force(&self, texts: &mut Vec<String>) -> InForce {
        let known = texts.iter().rposition(|text| **text == *self.text);
        let text = known.unwrap_or(texts.len());
        if known.is_none() {
            texts.push(self.text.to_string());
        }
        InForce {
            name: self.name().to_owned(),
            source: self.source.clone(),
            text,
            in_table: self.in_table,
            many: self.many,
            member: self.config.member_name(self.config.me()).into_owned(),
            endpoints: self.endpoints.clone(),
            remarks: self.remarks.clone(),
            secrets: self.secrets.clone(),
            digest: self.config.digest(),
        }
    }
}

impl Read {
    /// The cluster that has this configuration.
    ///
    /// # Errors
    /// When this program reads the text differently than the one that it was in force for.
    pub(crate) fn cluster(
        &mut self,
        from: &InForce,
        texts: &[String],
    ) -> Result<LocalCluster, String> {
        let all = match self.0.entry((from.text, from.in_table)) {
            Entry::Occupied(all) => all.into_mut(),
            Entry::Vacant(none) => {
                let text = texts.get(from.text).ok_or("a text is missing")?;
                none.insert(read(from, text)?)
            }
        };
        let differs = || {
            format!(
                "{}: this version reads the configuration in force of cluster `{}` differently",
                from.source.display(),
                from.name
            )
        };
        let written = all.get(&from.name).ok_or_else(differs)?.clone();
        let spec = decided(&written).map_err(|wrong| first(&wrong))?;
        let config = prove(&written.source, &spec, &from.member).map_err(|e| e.to_string())?;
        if config.digest() != from.digest || config.members().len() != from.endpoints.len() {
            return Err(differs());
        }
        if from.secrets.is_empty() {
            return Err(format!("cluster `{}` has no secret", from.name));
        }
        Ok(LocalCluster {
            interfaces: interfaces_of(&written.file, &config, &from.member),
            endpoints: from.endpoints.clone(),
            also: BTreeMap::new(), // nothing is being changed while a program becomes another
            many: from.many,
            source: from.source.clone(),
            in_table: from.in_table,
            remarks: from.remarks.clone(),
            next: None,
            text: written.source.text.clone(),
            secrets: from.secrets.clone(),
            spec,
            config,
            file: written.file,
        })
    }
}

fn first(wrong: &[super::FileError]) -> String {
    let first = wrong.first().map(ToString::to_string);
    let first = first.unwrap_or_default();
    format!("this version does not accept the configuration in force: {first}")
}

fn read(from: &InForce, text: &str) -> Result<BTreeMap<String, WrittenCluster>, String> {
    let source = Source::new(&from.source, text.to_owned());
    if !from.in_table {
        let file = ConfigFile::parse(&source).map_err(|wrong| first(&wrong))?;
        let name = file.cluster.name.clone();
        return Ok([(name, WrittenCluster { source, file })].into());
    }
    let witness: WitnessFile = source.parse().map_err(|wrong| first(&wrong))?;
    let (log, metrics) = (witness.log, witness.metrics);
    let tables = witness.clusters.into_iter().map(|(name, cluster)| {
        let written = WrittenCluster {
            source: source.within(&name),
            file: cluster.into_file(&name, log, metrics),
        };
        (name, written)
    });
    Ok(tables.collect())
}

/// Secrets, which nothing but a sealed state shows.
mod hexadecimal {
    use super::{HEXLOWER, Secret};
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(all: &[Secret], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(|secret| HEXLOWER.encode(secret.bytes())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Secret>, D::Error> {
        let all = Vec::<String>::deserialize(from)?;
        let decoded = all.iter().map(|hex| HEXLOWER.decode(hex.as_bytes()));
        decoded
            .map(|bytes| bytes.map(Secret::known).map_err(de::Error::custom))
            .collect()
    }
}
