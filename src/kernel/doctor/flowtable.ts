/**
 * Flowtables of nft: running connections go past the forward hook, where uplinkd counts them and where its resets stand.
 *
 * Source: Documentation/networking/nf_flowtable.rst; nf_flow_table_core.c, flow_offload_fixup_ct(): a connection that falls back to the slow path
 * keeps conntrack's timeout less that of the flowtable. Both are 30 s for UDP.
 */
import type { Finding } from '../../model.js';
import { setAndKeep } from './kernel-settings.js';
import { sysctl } from './machine.js';
import { list, type Look } from './scene.js';

const DIR = 'net/netfilter';
/** Was tried: half of conntrack's 30 s keeps the connection. */
const UDP_TIMEOUT_S = 15;

export const flowtable: Look = {
  subject: 'flowtable',
  async look({ machine, filter, uplinks }) {
    const devices = new Set(uplinks.map((uplink) => uplink.interface));
    const tables = filter.flowtables.filter((one) => one.devices.some((device) => devices.has(device)));
    if (tables.length === 0) return [];
    const [short, whole] = await Promise.all(['flowtable', 'conntrack'].map(async (which) => Number(await sysctl(machine, `${DIR}/nf_${which}_udp_timeout`))));
    const findings: Finding[] = [{
      level: 'note', subject: 'flowtable',
      text: `${list(tables.map(({ name }) => `Flowtable ${name}`))} carries running connections past the forward hook, where uplinkd counts them: they neither warn of a dead line nor speak for one that lives. Probes alone find a silent death then. New connections are counted as ever, and the load of a line is that of its device.`,
      remedy: 'Nothing has to be done. Where probe.interval is long, make it shorter (health.sensitivity: fast).',
    }];
    if (short !== undefined && whole !== undefined && short > 0 && short >= whole) {
      findings.push({
        level: 'warning', subject: 'flowtable',
        text: `A UDP connection in a flowtable is forgotten at the next change of a route, because the flowtable's time limit (nf_flowtable_udp_timeout, ${short} s) is not below conntrack's (nf_conntrack_udp_timeout, ${whole} s): a switch to another uplink then moves running calls and tunnels, too.`,
        remedy: setAndKeep([[`${DIR}/nf_flowtable_udp_timeout`, String(Math.min(UDP_TIMEOUT_S, Math.floor(whole / 2)))]]),
      });
    }
    return findings;
  },
};
