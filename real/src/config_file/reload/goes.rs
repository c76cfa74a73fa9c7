//! A member that the new file does not have: what its operator is told.

use super::super::{LocalCluster, MemberSection, Missing};
use super::rounded_up;
use onehold_core::time::Span;
use std::collections::BTreeMap;

impl Missing {
    /// Why a cluster that runs goes on as before.
    pub(super) fn keeps(&self, running: &LocalCluster) -> String {
        let goes = running.goes_by(&self.members, None);
        goes.map_or_else(
            || self.why.to_string(),
            |why| format!("{}: {why}", self.why.file.display()),
        )
    }
}

impl LocalCluster {
    /// What becomes of this member by a file with these members, if it is not one of them any more;
    /// by that file this host may be another one.
    pub(super) fn goes_by(
        &self,
        members: &BTreeMap<String, MemberSection>,
        new: Option<&Self>,
    ) -> Option<String> {
        let me = self.config.member_name(self.config.me());
        if members.is_empty() || members.contains_key(me.as_ref()) {
            return None;
        }
        let stays = "this daemon goes on as before";
        if self.config.is_candidate(self.config.me()) {
            let quarantine = rounded_up(self.config.timing().quarantine(Span::ZERO));
            return Some(format!(
                "`{me}`, which runs here, is not a member in it, and {stays}: a candidate goes by a stop of all only: \
                 stop onehold on every member of either file, put the new file on every member, wait \
                 {quarantine}, start those that are members by it"
            ));
        }
        let then = match (self.many, new) {
            (true, _) => {
                "take the file (or table) of this cluster away here, and reload".to_owned()
            }
            (false, Some(new)) => format!(
                "restart it, for this host is `{}` in that file: `systemctl restart onehold`",
                new.config.member_name(new.config.me())
            ),
            (false, None) => "stop it here for good: `systemctl disable --now onehold`".to_owned(),
        };
        Some(format!(
            "`{me}`, which runs here, is not a member in it, and {stays}. The others go on without it: they do \
             not wait for it, and its vote counts no more once the file is in force on both candidates. When \
             `onehold status` there shows no `waits for`, and every member as heard, {then}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::config_file::local_cluster::{Here, find_here};
    use crate::config_file::tests::{Etc, THREE};
    use crate::config_file::{Found, Outcome, find};

    /// What becomes of the member `me` where a file says `new`, and this host is `now` by it.
    fn refused(text: &str, new: &str, me: &str, now: &str, many: bool) -> String {
        let etc = Etc::new();
        let (path, file) = match many {
            false => (etc.0.join("onehold.toml"), "onehold.toml"),
            true => {
                let path = etc.write("witness.toml", "directory = \"clusters\"");
                (path, "clusters/web.toml")
            }
        };
        let secret = |text: &str| match many {
            true => text.replace("\"secret\"", "\"../secret\""),
            false => text.to_owned(),
        };
        etc.write(file, &secret(text));
        let mut loaded = find(&path, Some(me)).unwrap().loaded;
        etc.write(file, &secret(new));
        let here = Here {
            name: Some(now),
            ..Here::now("--as", None)
        };
        let found: Found = find_here(&path, &here).unwrap();
        let mut reloaded = loaded.reload(Ok(found)).unwrap();
        match reloaded.clusters.remove(0) {
            Outcome::Refused(why) => etc.said(why),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn r22_a_member_that_the_new_file_has_not_is_told_when_and_how_it_goes() {
        let another = THREE.replace("members.w", "members.x");
        let said = refused(THREE, &another, "w", "w", false);
        assert!(
            said.starts_with(
                "/etc/onehold/onehold.toml: `w`, which runs here, is not a member in it"
            ),
            "{said}"
        );
        for part in [
            "this daemon goes on as before",
            "The others go on without it",
            "When `onehold status` there shows no `waits for`, and every member as heard, stop it here for good: `systemctl disable --now onehold`",
        ] {
            assert!(said.contains(part), "{said}");
        }
        let said = refused(THREE, &another, "w", "x", false);
        let restart = "this host is `x` in that file: `systemctl restart onehold`";
        assert!(said.contains(restart), "{said}");
        let said = refused(THREE, &another, "w", "w", true);
        let away = "take the file (or table) of this cluster away here, and reload";
        assert!(
            said.contains(away) && said.starts_with("/etc/onehold/clusters/web.toml:"),
            "{said}"
        );
        let another = THREE.replace("members.lb1", "members.lb2");
        for now in ["lb1", "lb2"] {
            let said = refused(THREE, &another, "lb1", now, false);
            let stop = "a candidate goes by a stop of all only";
            assert!(said.contains(stop) && !said.contains("disable"), "{said}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_file_itself_is_said_first() {
        let another = THREE.replace("members.w", "members.x");
        let wrong = another.replace("\"450ms\"", "\"1ms\"");
        let said = refused(THREE, &wrong, "w", "w", false);
        assert!(said.contains("timing.lease"), "{said}");
    }
}
