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

/** One thing to ask through an uplink. */
export type Target = AskedTarget & Method;

export interface AskedTarget {
  /** Unique within the uplink, and what people read: `gateway`, `icmp 1.1.1.1`, `tcp 9.9.9.9:443`. */
  readonly id: string;
  /** The families that it is asked in, where the line has them. */
  readonly families: readonly Family[];
  /** A cadence of its own, ms; undefined = that of the uplink. */
  readonly intervalMs: number | undefined;
}

/** How it is asked. `host` is an address, or `gateway` for the uplink's own; '' where the method finds its way by itself. */
export type Method =
  /** ICMP echo. `sizeBytes`: of the whole IP packet, which must not be fragmented on the way; 0 = small. */
  | { readonly kind: 'icmp'; readonly host: string; readonly sizeBytes: number }
  /** ARP in IPv4, neighbour solicitation in IPv6 (RFC 826, RFC 4861). */
  | { readonly kind: 'arp'; readonly host: 'gateway' }
  /** The router that is so many hops away on the way to `host` (ICMP time exceeded). */
  | { readonly kind: 'hop'; readonly host: string; readonly hops: number }
  /** A TCP connection, closed as soon as it stands. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  /** One query over UDP. `expect`: addresses of which one must be among the answers; empty = any answer without an error. */
  | { readonly kind: 'dns'; readonly host: string; readonly port: number; readonly name: string; readonly expect: readonly string[] }
  | HttpMethod
  /** A program with the contract of docs/guides/exec.md: exit code 0 = alive. */
  | { readonly kind: 'exec'; readonly host: ''; readonly program: string; readonly args: readonly string[]; readonly limitMs: number };

/** GET. A redirect to elsewhere, or a page where none was expected, is taken for a captive portal. */
export interface HttpMethod {
  readonly kind: 'http';
  /** '' where the URL names a host, which is then looked up through the same uplink. */
  readonly host: string;
  /** Whole, `http:` or `https:`. */
  readonly url: string;
  /** Who is asked for the name; of either family, used in their own. */
  readonly resolvers: readonly string[];
  /** Status that the answer must have. */
  readonly status: number;
  /** Text that the first 64 KiB of the body must contain, '' = whatever. */
  readonly body: string;
  /** Header that the answer must have (`name`, lower case), with a value that contains `value`. */
  readonly header: { readonly name: string; readonly value: string } | undefined;
}

export interface ProbePolicy {
  readonly intervalMs: number;
  /** `auto`: RFC 6298 from the measured RTT, clamped to timeoutMinMs..timeoutMaxMs. A number: that many ms, always. */
  readonly timeoutMs: number | 'auto';
  readonly timeoutMinMs: number;
  readonly timeoutMaxMs: number;
  readonly targets: readonly Target[];
  /** How many of the targets beyond the gateway must answer. Clamped to their number. */
  readonly quorum: number;
  /** So many of the targets beyond the gateway are asked per interval, in turn; 0 = all. */
  readonly rotate: number;
  /** What probes may cost in 24 hours, both ways, bytes on the line; undefined = no limit. */
  readonly budgetBytes: number | undefined;
  /** Do the connections that pass through count as evidence too? */
  readonly passive: boolean;
}

export interface HealthPolicy {
  /** So many missed replies in a row of one target start a burst of so many probes to every target. */
  readonly suspect: { readonly failures: number; readonly burst: number };
  /** Silence that lasted this long (from the first missed probe) cuts over the old flows too. */
  readonly down: { readonly afterMs: number };
  /** So many answered rounds in a row bring an uplink back from `down` or `unknown`. */
  readonly up: { readonly successes: number };
  readonly quality: QualityPolicy;
  readonly damping: DampingPolicy;
}

/** Beyond `down` new flows go elsewhere, if anything is better; below `up` they may come back. Infinity = does not matter. */
export interface Threshold {
  readonly down: number;
  readonly up: number;
}

export interface QualityPolicy {
  readonly lossPercent: Threshold;
  readonly latencyMs: Threshold;
  readonly jitterMs: Threshold;
  readonly windowMs: number;
}

/** As RFC 2439 has it: each death or degradation adds 1 to a penalty that decays; from `suppress` on the uplink comes last, until it is below `reuse`. */
export interface DampingPolicy {
  readonly halfLifeMs: number;
  readonly suppress: number;
  readonly reuse: number;
}

/** Where an uplink's packets go next. `auto`: learnt from the default routes that others put into the kernel. `none`: point-to-point. */
export type GatewayPolicy = 'auto' | 'none' | { readonly address: string };

/** What becomes of the source address of a packet that leaves by an uplink. */
export type Translation =
  /** The uplink's own address, whichever it is at that time. */
  | { readonly kind: 'masquerade' }
  /** As it is: the uplink's provider routes it. */
  | { readonly kind: 'none' }
  /** Always this one. */
  | { readonly kind: 'address'; readonly address: string }
  /** IPv6: the LAN's prefix for the uplink's, host part kept (stateful NPTv6); sources outside `from` are masqueraded. CIDRs of equal length. In a policy `to` is '' where it is learnt. */
  | { readonly kind: 'prefix'; readonly from: string; readonly to: string };

/** Largest TCP segment that is announced over a line: by the path's MTU, not at all, or this many bytes. Bytes are of IPv4; IPv6 gets 20 less. */
export type MssPolicy = 'auto' | 'off' | number;

export interface UplinkPolicy {
  readonly name: UplinkName;
  /** 1..126, derived from the name and kept for ever: marks and tables are made of it. */
  readonly slot: number;
  /** Name of the device; '' where it is found by `match`. */
  readonly interface: string;
  /** How a device is found whose name moves; '' = not asked for. All that is given must fit. */
  readonly match: { readonly mac: string; readonly path: string } | undefined;
  readonly gateways: Readonly<Record<Family, GatewayPolicy>>;
  /** Lower is preferred; equal priorities share by weight. */
  readonly priority: number;
  readonly weight: number;
  /** What it carries leaves it as soon as something better is up. */
  readonly metered: boolean;
  readonly translate: Readonly<Record<Family, Translation>>;
  /** IPv6 prefix that the provider routes to us, CIDR; `auto` = the one that he delegates now (core/prefix.ts); '' = none. Of LAN addresses in it we tell that they are to be used no more while the uplink is down. */
  readonly prefix6: string;
  /** Of a tunnel: addresses of its far end, where the kernel does not tell them (OpenVPN). Absent = none. */
  readonly endpoints?: readonly string[];
  readonly mss: MssPolicy;
  readonly probe: ProbePolicy;
  readonly health: HealthPolicy;
}

/** What a packet must look like; every part that is given must fit. Empty lists and 'any' fit everything. Ports are inclusive ranges. */
export interface Match {
  /** CIDRs, both families may be mixed: a packet is held against those of its own, and does not fit if there are only others. */
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  readonly protocol: 'any' | 'tcp' | 'udp' | 'icmp';
  readonly sourcePorts: readonly PortRange[];
  readonly destinationPorts: readonly PortRange[];
}

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Uplinks of one rank of a policy's own order. */
export interface PolicyRank {
  readonly members: readonly { readonly uplink: UplinkName; readonly weight: number }[];
}

/** New connections of a kind that go their own way. The first policy that fits wins. */
export interface TrafficPolicy {
  readonly name: string;
  readonly match: Match;
  /** Packet mark of somebody else that it must bear. */
  readonly mark: { readonly value: number; readonly mask: number } | undefined;
  /** A set of addresses by name (nftables: in our own table; iptables: ipset) that its source or destination must be in. */
  readonly set: { readonly name: string; readonly side: 'source' | 'destination' } | undefined;
  /** In order of preference. */
  readonly order: readonly PolicyRank[];
  /** When none of these uplinks is fit: go by the next policy-free order, or be refused. */
  readonly otherwise: 'fall-through' | 'block';
  /** A source's new connections take the uplink of its last one for so long after it; undefined = each for itself. */
  readonly stickyMs: number | undefined;
  /** Does it apply to what the router itself sends? */
  readonly router: boolean;
}

/** Running connections of a kind with a rule of their own: tunnels of the router, telephony. In order: the first are moved first. */
export interface FlowPolicy {
  readonly name: string;
  readonly match: Match;
  /** `router`: only connections that the router itself began or ends. */
  readonly origin: 'any' | 'router';
  /** When a better uplink takes over from one that works. (From one that is down all flows are moved.) */
  readonly failback: 'keep' | 'move';
}

export interface Policy {
  readonly uplinks: readonly UplinkPolicy[];
  readonly policies: readonly TrafficPolicy[];
  readonly flows: readonly FlowPolicy[];
  readonly lanInterfaces: readonly string[];
  /** CIDRs of either family that leave by any uplink untranslated. */
  readonly routed: readonly string[];
  readonly failback: {
    readonly mode: 'automatic' | 'manual';
    readonly holdMs: number;
    /** What becomes of running connections when a better uplink takes over. */
    readonly flows: 'keep' | 'move';
    /** `move`: what is left after so long is cut. */
    readonly drainMs: number;
  };
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
  /** The one burnt in (IFLA_PERM_ADDRESS), '' where the driver does not say. */
  readonly permanentMac: string;
  /** Where the device is plugged in, as udev names it (ID_PATH: `pci-0000:00:14.0-usb-0:2:1.0`), '' where nobody knows. */
  readonly path: string;
  /** Further names that it is known by (`ip link property add dev eth0 altname uplink-a`), of up to 127 bytes; rules of the packet filter know the name alone. */
  readonly altNames: readonly string[];
}

/** A device that puts what it is given into packets of its own, and where those go, as far as the kernel tells. */
export interface Tunnel {
  readonly ifindex: number;
  /** As `ip -d link` names it: `wireguard`, `gre`; `tun`: a program is the tunnel, and alone knows its far end. */
  readonly kind: string;
  /** Addresses of the far end, of either family; empty = not told. */
  readonly remotes: readonly string[];
  /** The source address that the packets are bound to, '' = the kernel chooses. */
  readonly local: string;
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
  /** To be used by no new connection (preferred lifetime over). IPv6 addresses that are still tentative, or duplicates, are not listed. */
  readonly deprecated: boolean;
  /** IFA_PROTO: OUR_PROTOCOL where we deprecated it; 0 = not told. */
  readonly protocol: number;
  /** IPv6: it goes by itself when its lifetime is over, as what was leased does. Absent = it stays. */
  readonly expires?: true;
}

export interface Hop {
  readonly ifindex: number;
  /** Next-hop address; '' = directly through the device. */
  readonly via: string;
  /** 1..256; 1 for single-hop routes. */
  readonly weight: number;
  readonly onlink: boolean;
}

/** `destination` is `default` or CIDR. No hops: packets are refused. */
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
  /** Properties of the path as pairs of name and value, in the kernel's order: `mtu 1400 advmss 1360`. Absent = none. */
  readonly metrics?: string;
  /** Without hops: what becomes of the packet. Absent = unreachable. */
  readonly refuses?: 'blackhole' | 'prohibit' | 'throw';
}

/** A policy rule (`ip rule`), action lookup. Absent selectors are '' or 0. */
export interface Rule {
  readonly family: Family;
  readonly preference: number;
  readonly protocol: number;
  readonly table: number;
  /** CIDR or ''. */
  readonly from: string;
  /** CIDR. Absent = anywhere. */
  readonly to?: string;
  /** What the router itself sends alone (`iif lo`). Absent = what it forwards, too. */
  readonly own?: true;
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
  /** Default routes of others in main, also those that refuse: gateways to learn, metrics to keep clear of. */
  readonly foreignDefaults: readonly Route[];
  /** Absent = none. */
  readonly tunnels?: readonly Tunnel[];
  /**
   * Other routes in main that people, DHCP clients and VPNs made (not routing daemons, not the kernel), in the kernel's order: those that lead somewhere,
   * and in IPv6 those that refuse a network as large as providers delegate (/16 to /64).
   */
  readonly foreignRoutes: readonly Route[];
}

// ---------------------------------------------------------------------------------------------------- verdict

export type UplinkState = 'up' | 'suspect' | 'degraded' | 'down' | 'draining' | 'disabled' | 'unknown';

/**
 * Where it broke. `none`: nothing is known to be broken. `hops`: between the gateway and the first router beyond it that is watched. `quality`: it
 * works, badly. `connections`: targets answer, connections do not.
 * `everything`: all uplinks at once, so perhaps we ourselves. `prober`: we cannot ask. `outside`: somebody else said so.
 */
export type FaultDomain =
  | 'none' | 'device' | 'link' | 'address' | 'gateway' | 'hops' | 'upstream' | 'target' | 'dns' | 'portal' | 'mtu' | 'quality' | 'connections'
  | 'everything' | 'prober' | 'outside';

/** What one witness had to say when a verdict was made. */
export interface Evidence {
  /** `line`: the kernel; `target`: one that is asked; `flows`: connections that pass through; `outside`: somebody else's verdict. */
  readonly witness: 'line' | 'target' | 'flows' | 'outside';
  /** Which one: a target's id, a device, who said it. */
  readonly name: string;
  readonly says: 'alive' | 'silent' | 'wrong' | 'poor' | 'nothing';
  /** In words: `no answer for 2.3 s`, `redirected to http://login.example`. */
  readonly text: string;
}

export interface Verdict {
  readonly uplink: UplinkName;
  readonly state: UplinkState;
  readonly since: Instant;
  /** In words a person understands; the same in API, CLI and log. */
  readonly because: string;
  readonly domain: FaultDomain;
  /** What the verdict was made of. */
  readonly evidence: readonly Evidence[];
  /** No frame can leave: no device, admin down, no carrier, no gateway known. Certain, not a matter of probes. */
  readonly severed: boolean;
  /** A missed reply is being checked by a burst right now, or it was asked because the leading uplink is. */
  readonly inDoubt: boolean;
  /** New flows stay away until then although it answers again (after a suspicion); undefined = no hold. */
  readonly holdUntil: Instant | undefined;
}

/** What somebody else says of an uplink: one more witness, for a time. */
export interface OutsideVerdict {
  readonly uplink: UplinkName;
  /** `down`: it is down, whatever answers. `up`: one witness more that answers. */
  readonly state: 'down' | 'up';
  readonly until: Instant;
  readonly since: Instant;
  /** One verdict each: a new one replaces the former. */
  readonly by: string;
  readonly because: string;
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
  /**
   * Uplinks that a policy's new connections may take. `unproven`: only after the others, until it has held after its death. `resting`: up, but
   * kept free of new connections after a suspicion, or asked for the first time; for those that nobody else may carry.
   */
  readonly fit: readonly { readonly uplink: UplinkName; readonly trust: 'proven' | 'unproven' | 'resting' }[];
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
  readonly translate: Readonly<Record<Family, Translation>>;
  readonly mss: MssPolicy;
}

/** A policy as the packet filter has to know it: what fits bears `mark` until it is routed. */
export interface NatPolicy extends Omit<TrafficPolicy, 'order' | 'otherwise' | 'stickyMs'> {
  /** Of its class (layout.ts), shifted into the mask. */
  readonly classMark: number;
  /** The marks that send a source's next connections to the uplink of its last one first. */
  readonly sticky: { readonly forMs: number; readonly marks: readonly { readonly interface: string; readonly mark: number }[] } | undefined;
}

export interface NatWish {
  readonly backend: 'auto' | 'iptables' | 'nftables';
  readonly markMask: number;
  /** Sorted by interface name. */
  readonly lines: readonly NatLine[];
  /** First match wins. */
  readonly policies: readonly NatPolicy[];
  /** CIDRs that are never translated. */
  readonly routed: readonly string[];
  readonly lanInterfaces: readonly string[];
  readonly firewall: 'auto' | 'on' | 'off';
  /** TCP connections that bear it have been cut: whoever sends on them is answered by a reset. */
  readonly cutMark: number;
  /** Count what passes by each line (TrafficCount)? */
  readonly counting: boolean;
  /** CIDRs that are no part of the internet beyond the lines: what is exchanged with them is not counted. */
  readonly near: readonly string[];
}

/** The whole wish for the kernel, made from scratch each time. */
export interface Wish {
  readonly routes: readonly Route[];
  /** In main, before foreign routes with the same destination that lead nowhere now (core/stand-in.ts). */
  readonly standIns: readonly Route[];
  readonly rules: readonly Rule[];
  /** LAN addresses that are to be used no more, because their uplink is down. */
  readonly deprecated: readonly Address[];
}

/** Slow-moving wishes; the shells behind them run asynchronously and never in the path of a switch. */
export interface HostWish {
  readonly nat: NatWish;
  /** Set in this order. */
  readonly sysctls: readonly SysctlWish[];
}

export interface SysctlWish {
  /** Below /proc/sys: `net/ipv4/ip_forward`. */
  readonly path: string;
  readonly value: string;
  /** Left alone where it has this value. */
  readonly unless?: string;
}

export type Change =
  /** `prepend` (IPv4): before whatever has the same table, destination and metric. */
  | { readonly op: 'add' | 'delete' | 'replace' | 'prepend'; readonly route: Route; readonly needs?: number }
  | { readonly op: 'add' | 'delete'; readonly rule: Rule; readonly needs?: number }
  /** Takes an address out of use for new connections, or gives it back (preferred lifetime), and marks it as done by us. */
  | { readonly op: 'deprecate' | 'prefer'; readonly address: Address; readonly needs?: number };

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
  /** undefined = both. */
  readonly family: Family | undefined;
  /** Only connections that were translated to this address or an address of this prefix (CIDR), or began there, or came in to it; '' = any. */
  readonly translatedTo: string;
  /**
   * Only connections that leave untranslated though their source does not belong there: they are older than NAT, which looks at first packets
   * alone. `uplink`: the device that they leave by, `uplinks` those of all uplinks; sources in `routed` belong anywhere. undefined = any.
   */
  readonly astray: { readonly uplink: number; readonly uplinks: readonly number[]; readonly routed: readonly string[] } | undefined;
  /** Only connections of this kind; undefined = any. `router`: begun or ended by the router itself. */
  readonly only: { readonly name: string; readonly match: Match; readonly origin: 'any' | 'router' } | undefined;
  /** Of these kinds none; they keep what they have. */
  readonly except: readonly { readonly name: string; readonly match: Match; readonly origin: 'any' | 'router' }[];
  /** TCP connections get this mark instead of being deleted, and their local end is provoked to send, so that it learns of its reset. 0 = delete them. */
  readonly cutMark: number;
  /** Where IPv4 UDP flows of the router itself go on (kernel/lead.ts). Absent: where their source address leads. */
  readonly onto?: LeadOnto;
}

export interface LeadOnto {
  /** Of the uplink that leads now, and the address that its packets bear. */
  readonly mark: number;
  readonly address: string;
}

// -------------------------------------------------------------------------------------------- events and effects

export interface ProbeOrder {
  readonly uplink: UplinkName;
  readonly family: Family;
  readonly target: Target;
  /** Where to send it: the target's address, or the gateway's; '' where the method finds it by itself. */
  readonly address: string;
  /** Source address for this destination, where it is another than that of the line. */
  readonly source?: string;
  /** Unique within (uplink, family, target). */
  readonly seq: number;
}

/** What the prober needs to know to ask through one uplink and no other. A changed line means: close the sockets, open new ones. */
export interface ProbeLine {
  readonly uplink: UplinkName;
  readonly family: Family;
  readonly interface: string;
  readonly ifindex: number;
  /** Source address of whatever goes into the internet, '' = the kernel chooses. */
  readonly source: string;
  /** '' = point-to-point. */
  readonly gateway: string;
  /** The uplink's packet mark, shifted into the mask. */
  readonly mark: number;
}

/**
 * Why there is no answer, beyond silence. `unsent`: the kernel would not send it. `prober`: our own socket or program is at fault, nothing
 * is said about the line. `unreachable`: an ICMP error. `refused`: closed by a reset; both explain a silence and never shorten the wait for an answer. `answer`: not the one expected. `portal`: a captive portal.
 * `dns`: a name that could not be looked up. `failed`: a program said no.
 */
export type LostCause = 'unsent' | 'prober' | 'unreachable' | 'refused' | 'answer' | 'portal' | 'dns' | 'failed';

/**
 * Forwarded packets of one device and family since counting began: what connections that the LAN began sent to the internet beyond the line, and
 * what came back for them.
 */
export interface TrafficCount {
  readonly interface: string;
  readonly family: Family;
  readonly sentPackets: number;
  readonly sentBytes: number;
  readonly answeredPackets: number;
  readonly answeredBytes: number;
  /** The same packets by group of destinations. A destination is always in the same group; few groups, so several may share one. */
  readonly groups: readonly GroupCount[];
  /** Absent = it was not asked for, or no flowtable stands. */
  readonly device?: DeviceCount;
}

/** Whether devices are read beside the counters: not at all, where a flowtable stands, or in any case. */
export type DevicesToo = 'no' | 'flowtable' | 'yes';

/** All that a device carried, of both families and whoever it was for, as its driver counts it. */
export interface DeviceCount {
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** What the packet filter counted by then of answers that came by this device, of both families. */
  readonly answeredBytes: number;
}

/** In packets. */
export interface GroupCount {
  readonly sent: number;
  readonly answered: number;
}

export type Event =
  /** `token`: who waits for it to be in force; 0 = nobody. */
  | { readonly type: 'policy'; readonly at: Instant; readonly policy: Policy; readonly token: number }
  /** The kernel as read. Absent parts were not looked at. */
  | { readonly type: 'kernel'; readonly at: Instant; readonly facts: Partial<KernelFacts> }
  /** Single links, told by the kernel or asked for; `gone` are indexes that no longer exist. */
  | { readonly type: 'links'; readonly at: Instant; readonly told: boolean; readonly links: readonly Link[]; readonly gone: readonly number[] }
  | { readonly type: 'applied'; readonly at: Instant; readonly failures: readonly ChangeFailure[]; readonly facts: Partial<KernelFacts> }
  /** `wish`: the very one that was carried out. */
  | { readonly type: 'host'; readonly at: Instant; readonly wish: HostWish; readonly report: HostReport }
  /** Somebody changed the packet filter's rules, perhaps we ourselves. */
  | { readonly type: 'ruleset'; readonly at: Instant }
  /** A probe was answered. `at` = when the answer was received. Late answers come too. `unpinned`: why it may have gone by another uplink, if it may. `hopLimit`: what the answer's time to live had left. */
  | { readonly type: 'reply'; readonly at: Instant; readonly uplink: UplinkName; readonly family: Family; readonly target: string; readonly seq: number; readonly rttMs: number; readonly unpinned?: string; readonly hopLimit?: number }
  /** A probe could not be sent, or an error came back for it: a lost probe, with a reason for people. */
  | { readonly type: 'lost'; readonly at: Instant; readonly uplink: UplinkName; readonly family: Family; readonly target: string; readonly seq: number; readonly cause: LostCause; readonly error: string }
  /** What the packet filter counted. Empty: it counts nothing (yet). */
  | { readonly type: 'traffic'; readonly at: Instant; readonly counts: readonly TrafficCount[] }
  /** undefined = that witness has nothing to say any more. */
  | { readonly type: 'verdict'; readonly at: Instant; readonly uplink: UplinkName; readonly by: string; readonly verdict: OutsideVerdict | undefined; readonly token: number }
  | { readonly type: 'override'; readonly at: Instant; readonly override: Override | undefined; readonly by: string; readonly token: number }
  | { readonly type: 'confirm'; readonly at: Instant; readonly by: string; readonly token: number }
  | { readonly type: 'forgotten'; readonly at: Instant; readonly order: ForgetOrder; readonly count: number; readonly error: string }
  /** Somebody set the wall clock: what was read back from before the last boot may end at another time. */
  | { readonly type: 'clock'; readonly at: Instant; readonly override: Override | undefined }
  /** The timer rang, or time passed: `at` is now. `lateMs`: how much later than asked for. */
  | { readonly type: 'wake'; readonly at: Instant; readonly lateMs: number };

/** What stands of the HostWish, as read back. */
export interface HostReport {
  readonly natBackend: 'iptables' | 'nftables' | 'none';
  readonly natInSync: boolean;
  /** The rules of the very same wish had to be written again: somebody else had changed them. */
  readonly natRepaired: boolean;
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
  /** Ask the packet filter what it counted of connections that pass (one cheap request). */
  | { readonly type: 'count'; readonly devices: DevicesToo }
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
  readonly family: Family;
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
  /** Why there was no answer last, beyond silence. */
  readonly lastCause: LostCause | undefined;
  readonly sent: number;
  readonly received: number;
}

/** Over the window of the policy; undefined with too few samples. */
export interface QualityStatus {
  readonly lossPercent: number | undefined;
  readonly latencyMs: number | undefined;
  readonly jitterMs: number | undefined;
  /** The line is full of our own traffic: loss and latency do not count meanwhile. */
  readonly busy: boolean;
}

/** Why it may not lead yet. */
export interface DampingStatus {
  /** Recent deaths and degradations, decayed. */
  readonly penalty: number;
  /** Comes last until then; undefined = is not suppressed. */
  readonly suppressedUntil: Instant | undefined;
  /** So long it must hold after its next death before it leads again. */
  readonly holdMs: number;
  /** It has held: what it is to show before it takes the lead back. */
  readonly awaits: Proof;
}

/** `less loss`: more of its probes are lost than may be. `targets`: some that used to answer by it do so by the leading uplink alone. `answer`: one more. */
export type Proof = 'less loss' | 'targets' | 'answer' | 'nothing';

/** What passes through, per second, over the last second or so. */
export interface TrafficStatus {
  readonly sentPackets: number;
  readonly answeredPackets: number;
  readonly sentBytes: number;
  readonly answeredBytes: number;
  /** Connections get their answers at the usual rate. undefined = there is too little traffic to say. */
  readonly progressing: boolean | undefined;
}

/** How an uplink fares in one family. */
export interface FamilyStatus extends Omit<Verdict, 'uplink'> {
  readonly quality: QualityStatus;
  readonly damping: DampingStatus;
  /** undefined = nothing counts it. */
  readonly traffic: TrafficStatus | undefined;
  readonly family: Family;
  /** '' for point-to-point lines and where none is known. */
  readonly gateway: string;
  /** Carries new flows of this family now. */
  readonly active: boolean;
  /** Position in the order of preference, 0 = active; undefined = not in use. */
  readonly rank: number | undefined;
}

/** The verdict, gateway, `active` and `rank` are those of the first of `families`. */
export interface UplinkStatus extends Verdict {
  readonly families: readonly FamilyStatus[];
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
  /** What probes cost in the last 24 hours, both ways, estimated; and what they may. */
  readonly probeBytes: { readonly spent: number; readonly budget: number | undefined };
  readonly outside: readonly OutsideVerdict[];
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
  /** What people are told first: IPv4's, where there is one; `generation` counts changes in any family. */
  readonly decision: Decision;
  readonly decisions: readonly { readonly family: Family; readonly decision: Decision }[];
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

/** How a policy fares. */
export interface PolicyStatus {
  readonly policy: TrafficPolicy;
  /** What carries its new connections now, by family; empty = none of its own order is fit. */
  readonly active: readonly { readonly family: Family; readonly uplinks: readonly UplinkName[] }[];
  /** New connections that it took since its rules were written, and their first packets' bytes; undefined = the packet filter does not say. */
  readonly connections: number | undefined;
  readonly bytes: number | undefined;
}

export interface PolicyCounter {
  readonly policy: string;
  readonly packets: number;
  readonly bytes: number;
}

/** What would be done, in order, as lines that a person could type. Nothing of it has been done. */
export interface Preview {
  /** The choice that would result, by family. */
  readonly decisions: readonly { readonly family: Family; readonly decision: Decision }[];
  /** `ip route add ...`, `ip rule delete ...` */
  readonly routing: readonly string[];
  /** NAT and firewall: nft or iptables-restore lines that would be added (`+`) or taken away (`-`). */
  readonly filter: readonly string[];
  /** `sysctl -w net.ipv4.ip_forward=1` */
  readonly sysctls: readonly string[];
  /** `forget 17 connections of fibre` : in words. */
  readonly flows: readonly string[];
}

/** Something on this machine that is or will be in the way, and what to do about it. */
export interface Finding {
  readonly level: 'ok' | 'note' | 'warning' | 'error';
  /** `rp_filter`, `networkd`, `docker`: what was looked at. */
  readonly subject: string;
  /** What was found, and what comes of it. */
  readonly text: string;
  /** The exact remedy: commands or file contents; '' where none is needed. */
  readonly remedy: string;
}
