//! What keepalived.conf can say that our file has nothing for, and why.

const VRRP: &str = "VRRP is not spoken: members send sealed adverts of their own";
const ANNOUNCED: &str =
    "not adjustable: a new holder announces at 0, 50, 200 ms, 1, 2, 5 s, and then every 30 s";
const MAIL: &str = "nothing is mailed: write a hook, `changed`";
const IPVS: &str = "load balancing is no part of this: keep keepalived for its virtual_server blocks only, or use HAProxy \
                    or nginx";
const SNMP: &str = "neither SNMP nor D-Bus: `onehold status --json`";
const PROCESS: &str = "that is systemd's to say, in the unit";
const REALTIME: &str = "timing.profile = \"fast\" asks for realtime priority and locked memory";
const STATIC: &str = "it does not move, so it belongs to the host's own network configuration";
const FIREWALL: &str = "there are no firewall rules: the kernel's gate mutes what is not held";
const VMAC: &str = "there are no virtual MAC addresses: the neighbours are told the new one";
const FIFO: &str = "there is no FIFO: write the hook `changed`, or read the agent's session";
const UNICAST: &str =
    "always so: members send to each other's addresses, and nobody else's adverts count";
const LINK: &str = "the kernel reports an interface that goes down or comes up, at once";

type Reasons = &'static [(&'static [&'static str], &'static str)];

const TOP: Reasons = &[
    (&["virtual_server", "virtual_server_group", "SSL"], IPVS),
    (
        &["static_ipaddress", "static_routes", "static_rules"],
        STATIC,
    ),
    (
        &["track_group"],
        "an address or a route of a group is always watched, and put back",
    ),
    (&["garp_group"], ANNOUNCED),
    (
        &["bfd_instance"],
        "BFD is not spoken: write a check with `ping`, `link` or `exec`",
    ),
    (&["linkbeat_interfaces", "linkbeat_use_polling"], LINK),
    (
        &["interface_up_down_delays"],
        "an interface counts as it is; `failback_delay` keeps a group from moving back and forth",
    ),
    (
        &[
            "net_namespace",
            "net_namespace_ipvs",
            "namespace_with_ipsets",
        ],
        "that is systemd's to say: NetworkNamespacePath= in the unit",
    ),
    (
        &[
            "instance",
            "use_pid_dir",
            "child_wait_time",
            "random_seed",
            "process_monitor",
        ],
        PROCESS,
    ),
    (
        &["include_check"],
        "a file that can't be included is reported",
    ),
];

const GLOBAL: Reasons = &[
    (
        &[
            "notification_email",
            "notification_email_from",
            "smtp_server",
            "smtp_connect_timeout",
            "smtp_helo_name",
            "smtp_alert",
            "smtp_alert_vrrp",
            "smtp_alert_checker",
            "no_email_faults",
            "email_faults",
        ],
        MAIL,
    ),
    (
        &[
            "vrrp_strict",
            "vrrp_version",
            "vrrp_mcast_group4",
            "vrrp_mcast_group6",
            "vrrp_skip_check_adv_addr",
            "vrrp_lower_prio_no_advert",
            "vrrp_higher_prio_send_advert",
            "v3_checksum_as_v2",
            "vrrp_down_timer_adverts",
            "vrrp_rx_bufs_policy",
            "vrrp_rx_bufs_multiplier",
            "disable_local_igmp",
        ],
        VRRP,
    ),
    (
        &[
            "vrrp_garp_master_delay",
            "vrrp_garp_master_repeat",
            "vrrp_garp_master_refresh",
            "vrrp_garp_master_refresh_repeat",
            "vrrp_garp_lower_prio_delay",
            "vrrp_garp_lower_prio_repeat",
            "vrrp_garp_interval",
            "vrrp_gna_interval",
            "vrrp_min_garp",
            "vrrp_garp_extra_if",
        ],
        ANNOUNCED,
    ),
    (
        &[
            "lvs_sync_daemon",
            "lvs_sync_daemon_interface",
            "lvs_timeouts",
            "lvs_flush",
            "lvs_flush_on_stop",
            "lvs_flush_onstop",
            "lvs_netlink_cmd_rcv_bufs",
            "checker_log_all_failures",
            "nftables_ipvs",
            "nftables_ipvs_priority",
            "nftables_ipvs_start_fwmark",
            "checker_priority",
            "checker_no_swap",
            "checker_rt_priority",
            "checker_rlimit_rttime",
            "checker_cpu_affinity",
            "lvs_notify_fifo",
            "lvs_notify_fifo_script",
            "lvs_id",
            "rs_init_notifies",
            "no_checker_emails",
        ],
        IPVS,
    ),
    (
        &[
            "enable_snmp_keepalived",
            "enable_snmp_vrrp",
            "enable_snmp_checker",
            "enable_snmp_rfc",
            "enable_snmp_rfcv2",
            "enable_snmp_rfcv3",
            "enable_traps",
            "snmp_socket",
            "enable_dbus",
            "dbus_service_name",
            "dbus_no_interface_name",
            "snmp_vs_stats_update_interval",
            "snmp_rs_stats_update_interval",
        ],
        SNMP,
    ),
    (
        &[
            "notify_fifo",
            "notify_fifo_script",
            "vrrp_notify_fifo",
            "vrrp_notify_fifo_script",
            "vrrp_notify_priority_changes",
            "fifo_write_vrrp_states_on_reload",
        ],
        FIFO,
    ),
    (
        &[
            "vrrp_priority",
            "vrrp_no_swap",
            "vrrp_rt_priority",
            "vrrp_rlimit_rttime",
            "vrrp_cpu_affinity",
            "bfd_priority",
            "bfd_no_swap",
            "bfd_rt_priority",
            "bfd_rlimit_rttime",
            "bfd_cpu_affinity",
            "max_auto_priority",
            "min_auto_priority_delay",
        ],
        REALTIME,
    ),
    (
        &[
            "nftables",
            "nftables_priority",
            "nftables_counters",
            "nftables_ifindex",
            "vrrp_iptables",
            "vrrp_ipsets",
            "iptables",
        ],
        FIREWALL,
    ),
    (&["vrrp_check_unicast_src"], UNICAST),
    (&["linkbeat_use_polling"], LINK),
    (
        &[
            "startup_script",
            "startup_script_timeout",
            "shutdown_script",
            "shutdown_script_timeout",
        ],
        "that is systemd's to say: ExecStartPre= and ExecStopPost= in the unit",
    ),
    (
        &[
            "process_names",
            "process_name",
            "vrrp_process_name",
            "checker_process_name",
            "bfd_process_name",
            "tmp_config_directory",
            "config_save_dir",
            "instance",
            "use_pid_dir",
            "child_wait_time",
            "umask",
            "reload_check_config",
            "reload_time_file",
            "reload_repeat",
            "reload_file",
            "data_use_instance",
            "state_file_location",
            "stats_file_location",
            "json_file_location",
            "json_version",
            "iproute_usr_dir",
            "iproute_etc_dir",
            "process_monitor_rcv_bufs",
            "process_monitor_rcv_bufs_force",
            "vrrp_netlink_cmd_rcv_bufs",
            "vrrp_netlink_monitor_rcv_bufs",
            "vrrp_netlink_cmd_rcv_bufs_force",
            "vrrp_netlink_monitor_rcv_bufs_force",
            "set_supplementary_groups",
            "use_symlink_paths",
            "net_namespace",
            "random_seed",
            "script_security",
        ],
        PROCESS,
    ),
    (
        &["vrrp_startup_delay"],
        "a member that has just started neither votes nor holds for half a second",
    ),
    (
        &["dynamic_interfaces", "allow_if_changes"],
        "always so: an interface may come and go",
    ),
];

const INSTANCE: Reasons = &[
    (
        &[
            "version",
            "virtual_router_id",
            "strict_mode",
            "mcast_dst_ip",
            "skip_check_adv_addr",
            "old_unicast_checksum",
            "v3_checksum_as_v2",
            "lower_prio_no_advert",
            "higher_prio_send_advert",
            "native_ipv6",
            "down_timer_adverts",
            "unicast_ttl",
            "kernel_rx_buf_size",
            "debug",
            "timer_expired_backup",
            "thread_timer_expired",
        ],
        VRRP,
    ),
    (
        &[
            "garp_master_delay",
            "garp_master_repeat",
            "garp_master_refresh",
            "garp_master_refresh_repeat",
            "garp_lower_prio_delay",
            "garp_lower_prio_repeat",
            "garp_extra_if",
            "garp_interval",
            "gna_interval",
        ],
        ANNOUNCED,
    ),
    (
        &["use_vmac", "use_vmac_addr", "vmac_xmit_base", "use_ipvlan"],
        VMAC,
    ),
    (&["check_unicast_src", "unicast_fault_no_peer"], UNICAST),
    (&["smtp_alert"], MAIL),
    (&["notify_priority_changes"], FIFO),
    (&["linkbeat_use_polling"], LINK),
    (&["lvs_sync_daemon_interface"], IPVS),
    (
        &["accept"],
        "always so: the holder takes what is sent to the address",
    ),
    (
        &["no_accept"],
        "the holder takes what is sent to the address; a firewall can forbid it",
    ),
    (
        &["promote_secondaries"],
        "not needed: an address is a /32, and its end takes no other along",
    ),
    (
        &["dont_track_primary"],
        "a candidate whose interface is down can't hold: it could not serve",
    ),
    (
        &["track_src_ip"],
        "a member whose own address is gone is not heard",
    ),
    (&["vrf"], "write the interface that belongs to it"),
    (
        &["virtual_rules"],
        "rules are the host's: a rule that is always there does no harm, or write hooks with `ip rule`",
    ),
    (
        &["track_bfd"],
        "BFD is not spoken: write a check with `ping`, `link` or `exec`",
    ),
    (&["preempt"], "the default"),
    (&["no_virtual_ipaddress"], "a group needs an address"),
    (
        &["sync_group_tracking_weight", "global_tracking"],
        "a group is held by one vote: what fails for one fails for all",
    ),
    (
        &["notify_deleted"],
        "what is taken out of the file is released: `released` is run",
    ),
    (
        &["notify_master_rx_lower_pri"],
        "`holding` is run again after every conflict, and every 60s",
    ),
];

fn find(reasons: Reasons, keyword: &str) -> Option<&'static str> {
    let of = |(names, why): &(&[&str], &'static str)| names.contains(&keyword).then_some(*why);
    reasons.iter().find_map(of)
}

/// Why a block or statement outside all blocks has no place in our file, if that is known.
pub(super) fn at_top(keyword: &str) -> Option<&'static str> {
    find(TOP, keyword).or_else(|| find(GLOBAL, keyword))
}

/// The same, in global_defs.
pub(super) fn in_global(keyword: &str) -> Option<&'static str> {
    find(GLOBAL, keyword)
}

/// The same, in a vrrp_instance or a vrrp_sync_group.
pub(super) fn in_instance(keyword: &str) -> Option<&'static str> {
    find(INSTANCE, keyword)
}
