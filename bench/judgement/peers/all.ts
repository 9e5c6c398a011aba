/** Every model of a peer, in the order of the table. */
import { OPNSENSE_PUBLIC, PFSENSE_GATEWAY, PFSENSE_PUBLIC } from './dpinger.js';
import type { Contestant } from './monitor.js';
import { MWAN3_ONE_TARGET, MWAN3_SHIPPED } from './mwan3.js';
import { NETWATCH } from './netwatch.js';
import { VYOS_NEXTHOP, VYOS_PUBLIC } from './vyos.js';

export const PEERS: readonly Contestant[] = [MWAN3_SHIPPED, MWAN3_ONE_TARGET, PFSENSE_GATEWAY, PFSENSE_PUBLIC, OPNSENSE_PUBLIC, VYOS_NEXTHOP, VYOS_PUBLIC, NETWATCH];
