//! The lab: worlds in which the shipped core is run, broken and watched.
