//! configurations that followed one another, as they are replayed.

use super::{File, FileLine, Replay};
use onehold::trace::Step;
use onehold_core::advert::GroupId;
use onehold_core::config::{Config, Spec};
use onehold_core::effect::Effect;
use onehold_core::time::LocalTime;

impl File<'_> {
    /// An incarnation begins with this file, or with the trace's. It may be of a member that is in
    /// this file only.
    pub(super) fn finds(&mut self, member: &str, spec: Option<&Spec>) -> Result<(), String> {
        let config = spec.unwrap_or(&self.header.spec).prove(member);
        match (self.members.get_mut(member), spec) {
            (Some((known, _)), _) => *known = config.map_err(|e| e.to_string())?,
            (None, Some(_)) => {
                let of_another = (config.map_err(|e| e.to_string())?, None);
                self.members.insert(member.to_owned(), of_another);
            }
            (None, None) => {}
        }
        self.changing.remove(member);
        Ok(())
    }

    /// What a member goes by after this step.
    fn after(&mut self, member: &str, step: &Step) -> Result<Config, String> {
        let (config, _) = self.members.get(member).ok_or("nobody is called so")?;
        if let Step::Toward { spec } = step {
            let next = spec.prove(member).map_err(|e| e.to_string())?;
            let path = config.path_to(&next).map_err(|e| e.to_string())?;
            let known = (config.clone(), path);
            self.changing.insert(member.to_owned(), known);
        }
        let none = "nothing is coming into force";
        let (settled, path) = self.changing.get_mut(member).ok_or(none)?;
        let next = path.first().ok_or(none)?;
        Ok(match step {
            Step::Toward { .. } => settled.toward(next),
            Step::From {} => next.from(settled),
            Step::Settled {} => {
                *settled = path.remove(0);
                settled.clone()
            }
            Step::Back {} => settled.clone(),
        })
    }
}

impl Replay {
    /// What the core does when another configuration is in force, and what was recorded of it.
    pub(super) fn step(
        &mut self,
        file: &mut File<'_>,
        place: &FileLine,
        member: &str,
        at: LocalTime,
        step: &Step,
        recorded: &[Effect],
    ) {
        let to = match file.after(member, step) {
            Ok(to) => to,
            Err(why) => return self.flaw(place, format_args!("{member}: {why}")),
        };
        let Some((config, Some(live))) = file.members.get_mut(member) else {
            return self.flaw(place, format_args!("{}", file.stranger(member)));
        };
        let mut effects = Vec::new();
        live.node.change(config, &to, at, &mut effects);
        let seen = self.members.entry(member.to_owned()).or_default();
        for (group, (role, since)) in (0u8..).map(GroupId).zip(&live.roles) {
            seen.add(config, group, *role, at.since(*since));
        }
        seen.turns += 1;
        let now = live.node.observe(&to, at);
        let roles = now.groups.iter().map(|g| (g.role, at)).collect();
        (live.roles, live.last) = (roles, at);
        *config = to;
        let what = format!("{member} at {}ns, {}", at.as_nanos(), in_a_word(step));
        self.compare(place, &what, &effects, recorded);
    }
}

const fn in_a_word(step: &Step) -> &'static str {
    match step {
        Step::Toward { .. } => "toward another configuration",
        Step::From {} => "from another configuration",
        Step::Settled {} => "settled",
        Step::Back {} => "turned back",
    }
}
