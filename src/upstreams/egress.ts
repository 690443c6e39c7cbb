import { lookup } from 'node:dns'
import { isIP, type LookupFunction, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { Agent, buildConnector, type Dispatcher, ProxyAgent } from 'undici'
import { WebSocket } from 'ws'
import { isPublicAddress } from '../lib/address.ts'
import { joined } from '../lib/bytes.ts'
import { byteLengthOf } from '../protocols/splice.ts'
import { Pieces } from './pieces.ts'

/** Which way out a request may take. */
export interface Route {
  /** An HTTP proxy to go through, or null. It resolves the upstream's name; its own address is checked like an upstream's. */
  readonly proxy: string | null
  /** Allows private addresses and plain http. */
  readonly allowPrivateAddress: boolean
}

export interface Outbound {
  readonly origin: string
  /** With the query string. */
  readonly path: string
  readonly method: 'POST' | 'GET' | 'DELETE'
  readonly headers: Readonly<Record<string, string>>
  /** Slices to be sent one after another; empty for none. */
  readonly body: readonly Buffer[]
  readonly route: Route
}

/** The address is private or the scheme is not https, and nobody allowed that. */
export class EgressForbidden extends Error {
  override readonly name = 'EgressForbidden'
  readonly code = 'HEADGATE_EGRESS_FORBIDDEN'
}

/**
 * The one way out. Every address that a name resolves to is checked, and the connection goes to those addresses and no
 * others, so that a name cannot change its mind in between. Redirects are not followed: `dispatch` does not know them.
 */
export interface Egress {
  /** Throws EgressForbidden at once where the origin says enough; what a name resolves to is told to the handler. */
  send(outbound: Outbound, handler: Dispatcher.DispatchHandler): void
  /** Begins to open a WebSocket, under the same checks; what becomes of it is told by its events. Throws for a route by a proxy. */
  openSocket(target: SocketTarget): WebSocket
  close(): Promise<void>
}

/** Where a WebSocket is asked for. */
export interface SocketTarget extends Pick<Outbound, 'origin' | 'path' | 'headers' | 'route'> {
  /** The largest message that it may bring. */
  readonly messageBytesMax: number
}

/** Below this, slices are joined: one write is cheaper than several. */
const joinBytesMax = 256 * 1024

export function openEgress({ connectTimeoutMs }: { readonly connectTimeoutMs: number }): Egress {
  const agents = new Map<string, Dispatcher>()

  function agentFor(route: Route): Dispatcher {
    const name = `${route.allowPrivateAddress} ${route.proxy ?? ''}`
    let agent = agents.get(name)
    if (agent === undefined) {
      agent = newAgent(route, connectTimeoutMs)
      agents.set(name, agent)
    }
    return agent
  }

  return {
    send({ origin, path, method, headers, body, route }, handler) {
      if (!route.allowPrivateAddress) {
        requirePublic(origin, 'https:')
        if (route.proxy !== null) requirePublic(route.proxy)
      }
      const bytes = byteLengthOf(body)
      const isJoined = bytes <= joinBytesMax
      agentFor(route).dispatch(
        {
          origin,
          path,
          method,
          // Of a buffer undici says the length itself.
          headers: isJoined ? headers : { ...headers, 'content-length': String(bytes) },
          body: body.length === 0 ? null : isJoined ? joined(body, bytes) : inPieces(body),
          // Attempts keep their own time, to the millisecond.
          headersTimeout: 0,
          bodyTimeout: 0,
        },
        handler,
      )
    },
    openSocket({ origin, path, headers, route, messageBytesMax }) {
      if (route.proxy !== null) throw new EgressForbidden('a WebSocket does not go through a proxy')
      if (!route.allowPrivateAddress) requirePublic(origin, 'https:')
      return new WebSocket(origin.replace(/^http/, 'ws') + path, {
        headers: { ...headers },
        handshakeTimeout: connectTimeoutMs,
        maxPayload: messageBytesMax,
        // An upstream that compresses makes a small message large: what it may weigh would not be known before.
        perMessageDeflate: false,
        followRedirects: false,
        ...(route.allowPrivateAddress ? {} : { lookup: publicLookup }),
      })
    },
    async close() {
      await Promise.all([...agents.values()].map(agent => agent.destroy()))
    },
  }
}

function newAgent({ proxy, allowPrivateAddress }: Route, connectTimeoutMs: number): Dispatcher {
  const checked = allowPrivateAddress ? {} : { lookup: publicLookup }
  const connect = newConnector({ timeout: connectTimeoutMs, allowH2: false, ...checked })
  const tls = { timeout: connectTimeoutMs, ...checked }
  // Always through a tunnel: the proxy has no business with what is said.
  if (proxy !== null) return new ProxyAgent({ uri: proxy, proxyTunnel: true, requestTls: { timeout: connectTimeoutMs }, proxyTls: tls })
  return new Agent({ connect, pipelining: 1 })
}

/** Of an upstream's bytes, at once. The rest of so much is held while a client does not read. */
const readBytesMax = 12 * 1024
/** When so much waits to be taken, nothing more is read. */
const waitingBytesMax = 4 * 1024

/**
 * A plain connection is read into one buffer for all, and what came is copied from there (`Pieces`). The bytes of TLS come a record at a
 * time, in memory of their own.
 */
function newConnector(options: buildConnector.BuildOptions): buildConnector.connector {
  const secure = buildConnector(options)
  const pieces = new Pieces()
  const shared = Buffer.allocUnsafeSlow(readBytesMax)
  return (target, connected) => {
    if (target.protocol === 'https:') return secure(target, connected)
    let socket: Socket | null
    const onread = {
      // Windows fills buffers that it was given before; elsewhere one is asked for, filled and taken at one stroke.
      buffer: process.platform === 'win32' ? Buffer.allocUnsafeSlow(readBytesMax) : shared,
      callback: (bytes: number, buffer: Uint8Array) => socket!.push(pieces.copyOf(buffer.subarray(0, bytes))),
    }
    const plain = { ...options, highWaterMark: waitingBytesMax, onread }
    buildConnector(plain)(target, (...made) => {
      socket = made[1]
      connected(...made)
    })
  }
}

/** An address in the origin needs no look-up, so the look-up's check would not see it. */
function requirePublic(origin: string, only?: 'https:'): void {
  const { protocol, hostname } = new URL(origin)
  const host = hostname.replace(/^\[|\]$/g, '')
  if (only !== undefined && protocol !== only) throw new EgressForbidden(`${origin} is not https`)
  if (isIP(host) !== 0 && !isPublicAddress(host)) throw new EgressForbidden(`${host} is not a public address`)
}

const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error) return callback(error, '')
    const hidden = addresses.find(({ address }) => !isPublicAddress(address))
    if (hidden) return callback(new EgressForbidden(`${hostname} resolves to ${hidden.address}, which is not a public address`), '')
    if (options.all) return callback(null, addresses)
    callback(null, addresses[0]!.address, addresses[0]!.family)
  })
}

function inPieces(body: readonly Buffer[]): Readable {
  return Readable.from(lettingGo([...body]), { objectMode: false })
}

const pieceBytes = 1024 * 1024

/** A large body is not held on to once it was sent: undici keeps what it is given until the answer is over. */
function* lettingGo(body: Buffer[]): Iterable<Buffer> {
  for (let slice = body.shift(); slice !== undefined; slice = body.shift()) {
    for (let at = 0; at < slice.length; at += pieceBytes) yield slice.subarray(at, at + pieceBytes)
  }
}
