import { BlockList, isIP } from 'node:net'

/** Addresses that nobody on the public internet has: private, loopback, link-local, shared, documentation, multicast (RFC 6890). */
const notPublic = blockListOf([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/128',
  '::1/128',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
])

/** Whether an IP address, as text, is one of the public internet's. An IPv4 address inside an IPv6 one is judged as itself. */
export function isPublicAddress(address: string): boolean {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  const judged = mapped ?? address
  const family = isIP(judged)
  if (family === 0) return false
  if (family === 6 && /^::ffff:/i.test(judged)) return false // Mapped, written in hexadecimal: nobody honest does.
  return !notPublic.check(judged, family === 6 ? 'ipv6' : 'ipv4')
}

/** Reads addresses and CIDR ranges; throws a RangeError that names the one that is neither. */
export function blockListOf(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', bits] = range.split('/')
    const family = isIP(address)
    if (family === 0) throw new RangeError(`"${range}" is neither an address nor a range such as 10.0.0.0/8`)
    const type = family === 6 ? 'ipv6' : 'ipv4'
    if (bits === undefined) list.addAddress(address, type)
    else if (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 6 ? 128 : 32)) list.addSubnet(address, Number(bits), type)
    else throw new RangeError(`"${range}" is not a range: after the slash comes a number of bits`)
  }
  return list
}

/** Whether a list has an address; an IPv4 address that came over an IPv6 socket counts as IPv4. */
export function hasAddress(list: BlockList, address: string): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '')
  const family = isIP(plain)
  return family !== 0 && list.check(plain, family === 6 ? 'ipv6' : 'ipv4')
}
