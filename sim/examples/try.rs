#![allow(missing_docs)]
use onehold_core::config::Arbitration;
use onehold_sim::model::{configs::setup, memo::Memo, search::*};
use onehold_sim::properties::*;
use onehold_sim::world::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let get = |k: &str, d: u64| a.iter().find_map(|x| x.strip_prefix(&format!("{k}=")).map(|v| v.parse().unwrap())).unwrap_or(d);
    let adv = Adversary { rounds: get("rounds",0)>0, flight: get("flight", 3), stragglers: get("strag",0)>0, crashes: get("crashes",0) as u8,
        lives: get("lives",1) as u8, power: get("power",0)>0, in_turn: get("in_turn",0)>0, stops: get("stops",0) as u8, room: get("room",1) as usize,
        timely: get("timely",0)>0, slow: get("slow",0)>0, reorders: get("reorders",0)>0, duplicates: get("dup",0)>0,
        commands: get("commands",0) as u8, says: vec![onehold_core::input::Command::Switch], flips: get("flips",0) as u8,
        changes: get("changes",0) as u8, losses: get("losses",0) as u8, patience: get("patience",0) as u8, darkness: get("dark",0) as u8, cuts: if get("cuts",0)>0 { (0u32..(1<<(get("n",3)*(get("n",3)-1)))).map(|m| spread(m, get("n",3))).collect() } else {vec![0]}, ..Adversary::default() };
    let arb = if get("survivor",0)>0 { Arbitration::Survivor } else { Arbitration::Majority };
    let mut s = setup(get("n",3) as usize, arb, [get("i",1), get("h",3), get("k",0)], 0, adv);
    s.rates = vec![vec![get("rate",1); get("n",3) as usize]];
    s.orders = if get("orders",0)==1 {vec![(0..get("n",3) as u8).collect()]} else if get("orders",0)==2 { vec![vec![0,1,2],vec![1,0,2],vec![0,2,1],vec![1,2,0],vec![2,0,1],vec![2,1,0]]} else {s.orders};
    s.warm_up = get("warm", 0);
    let memo = Memo::new(s);
    let props = [S1, S3, S4, S5, L2, L3, L5, Property{name:"a holds", says:"", when: When::Sometimes, holds: |m| m.facts[0].effective}, Property{name:"b holds", says:"", when: When::Sometimes, holds: |m| m.facts[1].effective}];
    let f = search(&memo, &props, Limits { states: get("max", 20_000_000), stop_at_first: get("stop",1)>0 }, |p| if get("v",0)>0 {eprint!("\r{p:?}   ")});
    println!("exhaustive {} unique {} transitions {} depth {} took {:?} mem {} MB parts {:?} rate {:.0}", f.exhaustive, f.unique, f.transitions, f.depth, f.took, f.memory>>20, f.parts, f.transitions as f64/f.took.as_secs_f64());
    for (p, t) in props.iter().zip(&f.first) { println!("{} {:?}", p.name, t.as_ref().map(Vec::len)); if p.when.is_always() { if let Some(t)=t { for x in t { println!("   {x:?}"); } } } }
}

fn spread(m: u32, n: u64) -> u32 { let mut out = 0; let mut bit = 0; for f in 0..n { for t in 0..n { if f != t { if m & 1 << bit != 0 { out |= 1 << (f * 5 + t); } bit += 1; } } } out }
