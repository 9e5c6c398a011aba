/**
 * The nouns of uplinkd. Read this file first; it has no logic and imports nothing.
 *
 *   Policy   what the operator wishes (the config, validated)
 *   Facts    what the kernel and the network said (KernelFacts, probe replies)
 *   Verdict  what we make of the facts, per uplink
 *   Decision which uplinks carry traffic, in order, and why
 *   Wish     the whole desired state of the kernel
 *   Plan     the ordered Changes that lead from the facts to the wish
 *   Event    everything that can come into the core;  Effect: everything that can leave it
 *   Status   what we tell people
 *
 * Times are `Instant`s: milliseconds of the monotonic clock. Wall time exists only where people read it.
 */

/** Milliseconds of the monotonic clock (fractions allowed). Never compare with Date.now(). */
export type Instant = number & { readonly __brand: 'Instant' };

export type Family = 4 | 6;
export type UplinkName = string;

// ---------------------------------------------------------------------------------------------------- Policy

/** One thing to ask through an uplink. `id` is unique within the uplink and is what people read: `gateway`, `icmp 1.1.1.1`. */
export type Target =
  | { readonly kind: 'icmp'; readonly id: string; readonly host: 'gateway' }
  | { readonly kind: 'icmp'; readonly id: string; readonly host: string };

export interface ProbePolicy {
  readonly intervalMs: number;
  /** `auto`: RFC 6298 from the measured RTT, clamped to timeoutMinMs..timeoutMaxMs. A number: that many ms, always. */
  readonly timeoutMs: number | 'auto';
  readonly timeoutMinMs: number;
  readonly timeoutMaxMs: number;
  readonly targets: readonly Target[];
  /** How many of the targets beyond the gateway must answer. Clamped to their number. */
  readonly quorum: number;
}

export interface HealthPolicy {
  /** So many missed replies in a row of one target start a burst of so many probes to every target. */
  readonly suspect: { readonly failures: number; readonly burst: number };
  /** Silence that lasted this long (from the first missed probe) cuts over the old flows too. */
  readonly down: { readonly afterMs: number };
  /** So many answered rounds in a row bring an uplink back from `down` or `unknown`. */
  readonly up: { readonly successes: number };
}

/** Where an uplink's packets go next. `auto`: learnt from the default routes that others put into the kernel. `none`: point-to-point. */
export type GatewayPolicy = 'auto' | 'none' | { readonly address: string };

export interface UplinkPolicy {
  readonly name: UplinkName;
  /** 1..127, derived from the name and kept for ever: marks and tables are made of it. */
  readonly slot: number;
  readonly interface: string;
  readonly gateway: GatewayPolicy;
  /** Lower is preferred; equal priorities share by weight. */
  readonly priority: number;
  readonly weight: number;
  readonly metered: boolean;
  readonly masquerade: boolean;
  readonly probe: ProbePolicy;
  readonly health: HealthPolicy;
}

export interface Policy {
  readonly uplinks: readonly UplinkPolicy[];
  readonly lanInterfaces: readonly string[];
  readonly failback: { readonly mode: 'automatic' | 'manual'; readonly holdMs: number };
  readonly nat: { readonly backend: 'auto' | 'iptables' | 'nftables' };
  readonly forwarding: { readonly firewall: 'auto' | 'on' | 'off' };
  readonly stop: 'keep' | 'restore';
  /** Bits of the packet and connection mark that are ours; contiguous, at least 7 bits wide. Default 0x3f80. */
  readonly markMask: number;
}

// --------------------------------------------------------------------------------------------- facts: kernel

/** A network interface (RTM_NEWLINK). */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** IFF_UP. */
  readonly adminUp: boolean;
  /** IFLA_CARRIER; true where the driver does not say. */
  readonly carrier: boolean;
  readonly mtu: number;
  /** `02:00:00:00:00:01`, or '' where there is none. */
  readonly mac: string;
}

export interface Address {
  readonly family: Family;
  readonly ifindex: number;
  /** Our own end (IFA_LOCAL, else IFA_ADDRESS). */
  readonly address: string;
  readonly prefixLength: number;
  /** The other end of a point-to-point line, else ''. */
  readonly peer: string;
  /** 0 global, 253 link, 254 host. */
  readonly scope: number;
}

export interface Hop {
  readonly ifindex: number;
  /** Next-hop address; '' = directly through the device. */
  readonly via: string;
  /** 1..256; 1 for single-hop routes. */
  readonly weight: number;
  readonly onlink: boolean;
}

/** A unicast route. `destination` is `default` or CIDR. Only routes through devices are modelled; other types are never ours. */
export interface Route {
  readonly family: Family;
  readonly table: number;
  readonly destination: string;
  readonly metric: number;
  /** rtm_protocol: OUR_PROTOCOL or a foreign one. */
  readonly protocol: number;
  /** 0 universe, 253 link. */
  readonly scope: number;
  /** Preferred source address, '' = the kernel chooses. */
  readonly source: string;
  readonly hops: readonly Hop[];
}

/** A policy rule (`ip rule`), action lookup. Absent selectors are '' or 0. */
export interface Rule {
  readonly family: Family;
  readonly preference: number;
  readonly protocol: number;
  readonly table: number;
  /** CIDR or ''. */
  readonly from: string;
  readonly outInterface: string;
  readonly mark: number;
  readonly markMask: number;
  /** suppress_prefixlength, or -1. */
  readonly suppressPrefixLength: number;
}

/** Everything the core knows of the kernel. `ours` = carries OUR_PROTOCOL. */
export interface KernelFacts {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  /** Ours, in every table. */
  readonly routes: readonly Route[];
  /** Ours. */
  readonly rules: readonly Rule[];
  /** Default routes of others in main: gateways to learn, metrics to keep clear of. */
  readonly foreignDefaults: readonly Route[];
}

// ---------------------------------------------------------------------------------------------------- verdict

export type UplinkState = 'up' | 'suspect' | 'degraded' | 'down' | 'draining' | 'disabled' | 'unknown';

/** Where it broke. `none`: nothing is known to be broken. */
export type FaultDomain = 'none' | 'device' | 'link' | 'address' | 'gateway' | 'upstream' | 'target' | 'everything' | 'prober';

export interface Verdict {
  readonly uplink: UplinkName;
  readonly state: UplinkState;
  readonly since: Instant;
  /** In words a person understands; the same in API, CLI and log. */
  readonly because: string;
  readonly domain: FaultDomain;
  /** No frame can leave: no device, admin down, no carrier, no gateway known. Certain, not a matter of probes. */
  readonly severed: boolean;
  /** A missed reply is being checked by a burst right now, or it was asked because the leading uplink is. */
  readonly inDoubt: boolean;
  /** New flows stay away until then although it answers again (after a suspicion); undefined = no hold. */
  readonly holdUntil: Instant | undefined;
}

// --------------------------------------------------------------------------------------------------- decision

/** Uplinks of one rank: one, or several of equal priority that share the load. */
export interface Rank {
  readonly members: readonly { readonly uplink: UplinkName; readonly weight: number }[];
}

export interface Override {
  readonly uplink: UplinkName;
  /** undefined = until `auto`. */
  readonly until: Instant | undefined;
  /** Dropped at this instant unless confirmed before. */
  readonly confirmBy: Instant | undefined;
  readonly reason: string;
  /** Who asked: `root@unix`, `token noc@10.0.0.7`. */
  readonly by: string;
  readonly since: Instant;
  /** When the uplink dies: let the automatic choice rule meanwhile, or stay on it whatever comes. */
  readonly ifDead: 'fall-through' | 'obey';
}

export interface Decision {
  /** In order of preference. The first rank is the active one; empty = nothing to route by. */
  readonly ranks: readonly Rank[];
  /** Grows with each change of `ranks[0]`, over restarts too. */
  readonly generation: number;
  readonly since: Instant;
  readonly because: string;
  /** What made it: the daemon found it in the kernel; the rules of priority and health; the operator; nothing better was left. */
  readonly rule: 'adopted' | 'automatic' | 'override' | 'last-resort';
  /** The uplink that an override asked for when it was made, followed or not; '' = there was none. */
  readonly order: UplinkName;
}

// ------------------------------------------------------------------------------------------------ wish and plan

/** NAT, marks and firewall for one uplink. */
export interface NatLine {
  readonly uplink: UplinkName;
  readonly interface: string;
  /** Already shifted into the mask. */
  readonly mark: number;
  readonly masquerade: boolean;
}

export interface NatWish {
  readonly backend: 'auto' | 'iptables' | 'nftables';
  readonly markMask: number;
  /** Sorted by interface name. */
  readonly lines: readonly NatLine[];
  readonly lanInterfaces: readonly string[];
  readonly firewall: 'auto' | 'on' | 'off';
}

/** The whole wish for the kernel, made from scratch each time. */
export interface Wish {
  readonly routes: readonly Route[];
  readonly rules: readonly Rule[];
}

/** Slow-moving wishes; the shells behind them run asynchronously and never in the path of a switch. */
export interface HostWish {
  readonly nat: NatWish;
  /** Path below /proc/sys (`net/ipv4/ip_forward`) → value. */
  readonly sysctls: Readonly<Record<string, string>>;
}

export type Change =
  | { readonly op: 'add' | 'delete' | 'replace'; readonly route: Route; readonly needs?: number }
  | { readonly op: 'add' | 'delete'; readonly rule: Rule; readonly needs?: number };

/** Changes in the order of carrying out. A change whose `needs` (an index in this list) failed is skipped. */
export interface Plan {
  readonly changes: readonly Change[];
}

export interface ChangeFailure {
  readonly index: number;
  readonly change: Change;
  /** `ENETUNREACH: Nexthop has invalid gateway` : errno name and the kernel's own ext-ack text. */
  readonly error: string;
}

export interface ForgetOrder {
  readonly uplink: UplinkName;
  readonly mark: number;
  readonly markMask: number;
  /** `unanswered`: only entries that never saw a reply (SYN_SENT, unreplied UDP and ICMP). */
  readonly which: 'unanswered' | 'all';
}

// -------------------------------------------------------------------------------------------- events and effects

export interface ProbeOrder {
  readonly uplink: UplinkName;
  readonly target: string;
  /** Where to send it: the target's address, or the gateway's. */
  readonly address: string;
  /** Unique within (uplink, target). */
  readonly seq: number;
}

/** What the prober needs to know to ask through one uplink and no other. A changed line means: close the sockets, open new ones. */
export interface ProbeLine {
  readonly uplink: UplinkName;
  readonly interface: string;
  readonly ifindex: number;
  /** Source address, '' = the kernel chooses. */
  readonly source: string;
}

export type Event =
  | { readonly type: 'policy'; readonly at: Instant; readonly policy: Policy }
  /** The kernel as read. Absent parts were not looked at. */
  | { readonly type: 'kernel'; readonly at: Instant; readonly facts: Partial<KernelFacts> }
  /** Single links, told by the kernel or asked for; `gone` are indexes that no longer exist. */
  | { readonly type: 'links'; readonly at: Instant; readonly told: boolean; readonly links: readonly Link[]; readonly gone: readonly number[] }
  | { readonly type: 'applied'; readonly at: Instant; readonly failures: readonly ChangeFailure[]; readonly facts: Partial<KernelFacts> }
  | { readonly type: 'host'; readonly at: Instant; readonly report: HostReport }
  /** Somebody changed the packet filter's rules, perhaps we ourselves. */
  | { readonly type: 'ruleset'; readonly at: Instant }
  /** A probe was answered. `at` = when the answer was received. Late answers come too. */
  | { readonly type: 'reply'; readonly at: Instant; readonly uplink: UplinkName; readonly target: string; readonly seq: number; readonly rttMs: number }
  /** A probe could not be sent, or an error came back for it: a lost probe, with a reason for people. */
  | { readonly type: 'lost'; readonly at: Instant; readonly uplink: UplinkName; readonly target: string; readonly seq: number; readonly error: string }
  | { readonly type: 'override'; readonly at: Instant; readonly override: Override | undefined; readonly by: string; readonly token: number }
  | { readonly type: 'confirm'; readonly at: Instant; readonly by: string; readonly token: number }
  | { readonly type: 'forgotten'; readonly at: Instant; readonly order: ForgetOrder; readonly count: number; readonly error: string }
  /** The timer rang, or time passed: `at` is now. `lateMs`: how much later than asked for. */
  | { readonly type: 'wake'; readonly at: Instant; readonly lateMs: number };

/** What stands of the HostWish, as read back. */
export interface HostReport {
  readonly natBackend: 'iptables' | 'nftables' | 'none';
  readonly natInSync: boolean;
  readonly sysctlsInSync: boolean;
  /** What could not be done and what to do about it; also conflicts that were seen. */
  readonly problems: readonly string[];
}

export type Effect =
  | { readonly type: 'bind'; readonly lines: readonly ProbeLine[] }
  | { readonly type: 'probe'; readonly order: ProbeOrder }
  | { readonly type: 'apply'; readonly plan: Plan }
  /** Read the kernel again: `ours` = our routes and rules; `all` = everything. */
  | { readonly type: 'read'; readonly what: 'ours' | 'all' }
  /** Ask for these links one by one (a cheap request that also makes the kernel look at the carrier). */
  | { readonly type: 'look'; readonly ifindexes: readonly number[] }
  | { readonly type: 'host'; readonly wish: HostWish }
  | { readonly type: 'forget'; readonly order: ForgetOrder }
  /** What must survive a restart. */
  | { readonly type: 'save'; readonly override: Override | undefined }
  /** The request with this token is in force in the kernel (`error` ''), or is not and why. */
  | { readonly type: 'answer'; readonly token: number; readonly error: string }
  | { readonly type: 'tell'; readonly news: News };

/** One line of history, for log and journal. */
export interface News {
  readonly level: 'info' | 'warn' | 'error';
  readonly kind: 'decision' | 'uplink' | 'override' | 'kernel' | 'flows' | 'host' | 'controller';
  /** '' where it is not about one uplink. */
  readonly uplink: UplinkName;
  readonly text: string;
  /** Further facts as data. */
  readonly data: Readonly<Record<string, string | number | boolean>>;
}

// ----------------------------------------------------------------------------------------------------- status

export interface TargetStatus {
  readonly target: string;
  readonly kind: Target['kind'];
  /** '' when not known (a gateway that was not learnt yet). */
  readonly address: string;
  /** Smoothed; undefined before the first answer. */
  readonly rttMs: number | undefined;
  readonly jitterMs: number | undefined;
  readonly lossPercent: number | undefined;
  readonly timeoutMs: number;
  readonly answering: boolean;
  readonly lastReplyAt: Instant | undefined;
  readonly lastError: string;
  readonly sent: number;
  readonly received: number;
}

export interface UplinkStatus extends Verdict {
  readonly interface: string;
  readonly ifindex: number | undefined;
  readonly addresses: readonly string[];
  readonly gateway: string;
  readonly priority: number;
  readonly weight: number;
  readonly metered: boolean;
  readonly carrier: boolean;
  /** Carries new flows now. */
  readonly active: boolean;
  /** Position in the order of preference, 0 = active; undefined = not in use. */
  readonly rank: number | undefined;
  readonly mark: number;
  readonly table: number;
  readonly targets: readonly TargetStatus[];
  readonly suspicions: number;
  readonly downs: number;
}

export interface ActiveUplink {
  readonly name: UplinkName;
  readonly interface: string;
  readonly gateway: string;
  readonly family: Family;
  readonly weight: number;
}

export interface Status {
  readonly at: Instant;
  readonly decision: Decision;
  readonly active: readonly ActiveUplink[];
  readonly override: Override | undefined;
  readonly uplinks: readonly UplinkStatus[];
  readonly kernel: {
    readonly inSync: boolean;
    readonly lastReadAt: Instant | undefined;
    /** Changes that the kernel refused, in words. */
    readonly failures: readonly string[];
    /** How often something of ours had to be put back. */
    readonly repairs: number;
    readonly applied: number;
  };
  readonly host: HostReport | undefined;
  readonly controller: {
    readonly startedAt: Instant;
    /** The first decision has been applied to the kernel and read back. */
    readonly ready: boolean;
    /** How late the timer was, the worst of the last minute, ms. */
    readonly worstLatenessMs: number;
    readonly steps: number;
  };
}
