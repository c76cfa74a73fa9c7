//! The checks and hooks of both machines, as those of one group.

use super::{Both, Merge};
use crate::import::command;
use crate::import::draft::{Group, Table, Value, Which};
use crate::import::keepalived::tracking::{Check, Hook, Watch};
use crate::import::report::Verdict;

impl Merge<'_, '_> {
    pub(super) fn checks(
        &mut self,
        both: &[Vec<&Watch>; 2],
        pairs: &[Both<'_>],
        group: &mut Group,
    ) {
        let gap = pairs.first().and_then(|pair| match pair.0 {
            [Some(a), Some(b)] => Some((a.priority.max(b.priority), a.priority.min(b.priority))),
            _ => None,
        });
        let instances = || pairs.iter().flat_map(|pair| pair.each());
        let devices =
            instances().flat_map(|i| i.addresses.iter().filter_map(|a| a.device.as_deref()));
        let own: Vec<&str> = instances()
            .filter_map(|i| i.interface.as_deref())
            .chain(devices)
            .collect();
        let mut all: Vec<&Check> = Vec::new();
        for (n, watch) in (0..)
            .zip(both)
            .flat_map(|(n, of)| of.iter().map(move |w| (n, *w)))
        {
            for (weight, at) in &watch.weights {
                let mut what = "without a weight: a member whose check fails hands over to one whose checks pass".to_owned();
                if let Some((high, low)) = gap
                    && weight.unsigned_abs() <= u64::from(high - low)
                {
                    what += &format!(
                        ". (In keepalived, {weight} did not move the address between priorities {high} and {low}; here \
                         the check does)"
                    );
                }
                self.report.say(*at, Verdict::Changed, what);
            }
            for check in &watch.checks {
                let link = check.table.first().filter(|(key, _)| *key == "link");
                if let Some((_, Value::Text(name))) = link
                    && own.contains(&name.as_str())
                {
                    self.report.say(
                        check.at,
                        Verdict::Carried,
                        "the group's own interfaces are watched by themselves",
                    );
                    continue;
                }
                let is_there = both[1 - n]
                    .iter()
                    .flat_map(|w| &w.checks)
                    .any(|c| c.table == check.table);
                if !is_there && !both[1 - n].is_empty() {
                    let what = match link {
                        Some(_) => {
                            self.report.say(
                                check.at,
                                Verdict::Wrong,
                                "the other machine does not track it, and may have no such interface; left out",
                            );
                            continue;
                        }
                        None => {
                            "only this machine's file has it so; here both members run the same"
                        }
                    };
                    self.report.say(check.at, Verdict::Changed, what);
                }
                match all.iter().find(|c| c.name == check.name) {
                    Some(same) if same.table == check.table => {
                        self.report.say(check.at, Verdict::Carried, format!("checks.{}", check.name));
                    }
                    Some(_) => self.report.say(
                        check.at,
                        Verdict::Wrong,
                        format!("checks.{} is another one in a line above or in the other file; left out", check.name),
                    ),
                    None => {
                        self.report.say(check.at, Verdict::Carried, format!("checks.{}", check.name));
                        all.push(check);
                    }
                }
            }
        }
        group.checks = all
            .iter()
            .map(|c| (c.name.clone(), c.table.clone()))
            .collect();
    }

    pub(super) fn hooks(&mut self, both: &[Vec<&Watch>; 2], group: &mut Group) {
        for which in [Which::Holding, Which::Released, Which::Changed] {
            let of = |n: usize| -> Vec<&Hook> {
                let all = both[n]
                    .iter()
                    .flat_map(|w| &w.hooks)
                    .filter(|h| h.which == which);
                let mut each: Vec<&Hook> = Vec::new();
                for hook in all {
                    if !each.iter().any(|h| h.command == hook.command) {
                        each.push(hook);
                    }
                }
                each
            };
            let (first, second) = (of(0), of(1));
            let commands = |hooks: &[&Hook]| -> Vec<Vec<String>> {
                hooks.iter().map(|h| h.command.clone()).collect()
            };
            if !first.is_empty() && commands(&first) != commands(&second) {
                for hook in second
                    .iter()
                    .filter(|h| !commands(&first).contains(&h.command))
                {
                    self.report.say(
                        hook.at,
                        Verdict::Wrong,
                        format!("hooks.{} is another one on the first machine, and the file is one for both; left out", which.name()),
                    );
                }
            }
            for (n, hooks, others) in [(0, &first, &second), (1, &second, &first)] {
                for hook in hooks
                    .iter()
                    .filter(|_| others.is_empty() && !both[1 - n].is_empty())
                {
                    let what = "only this machine's file has it; here both members run it";
                    self.report.say(hook.at, Verdict::Changed, what);
                }
            }
            let hooks = if first.is_empty() { second } else { first };
            let Some(one) = hooks.first() else { continue };
            for other in hooks.iter().filter(|h| h.user != one.user) {
                self.report.say(
                    other.at,
                    Verdict::Wrong,
                    format!(
                        "hooks.{} is run by one user, that of the first command; left out",
                        which.name()
                    ),
                );
            }
            let commands: Vec<Vec<String>> = hooks
                .iter()
                .filter(|h| h.user == one.user)
                .map(|h| h.command.clone())
                .collect();
            let mut hook: Table = vec![("exec", Value::List(command::all_of(&commands, which)))];
            hook.extend(one.user.clone().map(|user| ("user", Value::Text(user))));
            group.hooks.insert(which, hook);
        }
    }
}
