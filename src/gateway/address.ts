import type { BlockList } from 'node:net'
import { hasAddress } from '../lib/address.ts'
import type { Asking } from './wire.ts'

/**
 * Who is at the other end. The socket says, unless it is a configured proxy: then the last address in
 * `x-forwarded-for` that no configured proxy has. Anybody can write that header; only a trusted proxy is believed.
 */
export function addressOf(request: Asking, trustedProxies: BlockList | undefined): string {
  const peer = plain(request.socket.remoteAddress ?? '')
  if (trustedProxies === undefined || !hasAddress(trustedProxies, peer)) return peer
  const header = request.headers['x-forwarded-for']
  const hops = (Array.isArray(header) ? header.join(',') : (header ?? '')).split(',').map(hop => plain(hop.trim()))
  for (const hop of hops.reverse()) {
    if (hop !== '' && !hasAddress(trustedProxies, hop)) return hop
  }
  return peer
}

/** Without the port that some proxies add, and without IPv6 around an IPv4 address. */
function plain(address: string): string {
  if (!address.includes(':')) return address
  const bare = /^\[(.+)\](?::\d+)?$/.exec(address)?.[1] ?? /^([\d.]+):\d+$/.exec(address)?.[1] ?? address
  return bare.replace(/^::ffff:(?=\d+\.)/i, '')
}
