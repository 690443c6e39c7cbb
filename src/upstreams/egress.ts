import { lookup } from 'node:dns'
import { isIP, type LookupFunction, type Socket } from 'node:net'
import { buildConnector, type Dispatcher, Pool } from 'undici'
import { WebSocket } from 'ws'
import { isPublicAddress } from '../lib/address.ts'
import type { Clock } from '../lib/clock.ts'
import type { AnswerHandler } from './exchange-control.ts'
import { type Connecting, Connections, type Opener } from './http1/connections.ts'

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
 * others, so that a name cannot change its mind in between. Redirects are not followed.
 */
export interface Egress {
  /** Throws EgressForbidden at once where the origin says enough; what a name resolves to is told to the handler. */
  send(outbound: Outbound, handler: AnswerHandler): void
  /** Begins to open a WebSocket, under the same checks; what becomes of it is told by its events. Throws for a route by a proxy. */
  openSocket(target: SocketTarget): WebSocket
  close(): Promise<void>
}

/** Where a WebSocket is asked for. */
export interface SocketTarget extends Pick<Outbound, 'origin' | 'path' | 'headers' | 'route'> {
  /** The largest message that it may bring. */
  readonly messageBytesMax: number
}

/** What egress is opened with. */
export interface EgressSettings {
  readonly connectTimeoutMs: number
}

export function openEgress({ connectTimeoutMs }: EgressSettings, clock: Clock): Egress {
  /** By whether private addresses are allowed, and by the proxy: connectors are kept, because they know the sessions of TLS. */
  const exits = { open: new Map<string | null, Exit>(), guarded: new Map<string | null, Exit>() }
  let isClosed = false

  function exitFor(route: Route): Exit {
    const byProxy = route.allowPrivateAddress ? exits.open : exits.guarded
    let exit = byProxy.get(route.proxy)
    if (exit === undefined) {
      if (!route.allowPrivateAddress && route.proxy !== null) requirePublic(route.proxy)
      exit = newExit(route, connectTimeoutMs)
      byProxy.set(route.proxy, exit)
    }
    return exit
  }

  function connectionsTo(origin: string, route: Route): Connections {
    const { byOrigin, openerTo } = exitFor(route)
    let connections = byOrigin.get(origin)
    if (connections === undefined) {
      if (!route.allowPrivateAddress) requirePublic(origin, 'https:')
      const target = targetOf(origin)
      connections = new Connections({ host: target.host, open: openerTo(target), clock, onEmpty: () => byOrigin.delete(origin) })
      if (isClosed) connections.close()
      byOrigin.set(origin, connections)
    }
    return connections
  }

  return {
    send(outbound, handler) {
      connectionsTo(outbound.origin, outbound.route).send(outbound, handler)
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
      isClosed = true
      for (const exit of [...exits.open.values(), ...exits.guarded.values()]) {
        for (const connections of [...exit.byOrigin.values()]) connections.close()
        await exit.tunnels?.destroy()
      }
    },
  }
}

/** One route, and the connections that go by it. */
interface Exit {
  readonly byOrigin: Map<string, Connections>
  openerTo(target: Target): Opener
  /** What asks the proxy for tunnels. */
  readonly tunnels?: Pool
}

/** Where a connection goes, as connectors want it said. */
interface Target {
  readonly protocol: string
  readonly host: string
  readonly hostname: string
  /** Empty for the one that is usual. */
  readonly port: string
}

function targetOf(origin: string): Target {
  const { protocol, host, hostname, port } = new URL(origin)
  return { protocol, host, hostname: bare(hostname), port }
}

function newExit({ proxy, allowPrivateAddress }: Route, connectTimeoutMs: number): Exit {
  const options = { timeout: connectTimeoutMs, allowH2: false, ...(allowPrivateAddress ? {} : { lookup: publicLookup }) }
  if (proxy !== null) return newTunnels(new URL(proxy), options)
  const secure = buildConnector(options)
  const plain = newPlain(options)
  const byOrigin = new Map<string, Connections>()
  return { byOrigin, openerTo: target => (target.protocol === 'https:' ? to => open(secure, target, to) : to => plain(target, to)) }
}

/** The bytes of TLS come a record at a time, in memory of their own. */
function open(connector: buildConnector.connector, target: buildConnector.Options, to: Connecting): void {
  connector(target, (error, socket) => (error ? to.failed(error) : to.opened(socket!, false)))
}

/** Of an upstream's bytes, at once. The rest of so much is held while a client does not read. */
const readBytesMax = 12 * 1024

/** A plain connection is read into one buffer for all, and what came is copied from there (`Pieces`). */
function newPlain(options: buildConnector.BuildOptions): (target: Target, to: Connecting) => void {
  const shared = Buffer.allocUnsafeSlow(readBytesMax)
  return (target, to) => {
    // Windows fills buffers that it was given before; elsewhere one is asked for, filled and taken at one stroke.
    const buffer = process.platform === 'win32' ? Buffer.allocUnsafeSlow(readBytesMax) : shared
    const callback = (bytes: number) => {
      to.take(buffer, bytes)
      return true
    }
    const plain = { ...options, onread: { buffer, callback } }
    buildConnector(plain)(target, (error, socket) => (error ? to.failed(error) : to.opened(socket!, true)))
  }
}

/**
 * Always through a tunnel: the proxy has no business with what is said. It resolves the upstream's name, so that only its own is looked up
 * here.
 */
function newTunnels(proxy: URL, options: buildConnector.BuildOptions & { timeout: number }): Exit {
  const connector = buildConnector(options)
  const toProxy: buildConnector.connector = (target, connected) =>
    // Of the upstream's name, which stands in the request, the proxy has no certificate.
    connector({ ...target, servername: proxy.hostname }, connected)
  const tunnels = new Pool(proxy.origin, { connect: toProxy, allowH2: false })
  const secure = buildConnector({ timeout: options.timeout, allowH2: false })
  const openerTo =
    (target: Target): Opener =>
    to => {
      const path = target.port === '' ? `${target.host}:${target.protocol === 'https:' ? 443 : 80}` : target.host
      const headers = { host: target.host, 'proxy-connection': 'keep-alive', ...authorizationOf(proxy) }
      const made = ({ statusCode, socket }: Dispatcher.ConnectData) => {
        const tunnel = socket as Socket
        if (statusCode === 200)
          return target.protocol === 'https:' ? open(secure, { ...target, httpSocket: tunnel }, to) : to.opened(tunnel, false)
        tunnel.on('error', () => {}).destroy() // Nothing is wanted of it.
        to.failed(new Error(`the proxy answered ${statusCode} when it was asked for a tunnel`))
      }
      tunnels.connect({ path, headers }).then(made).catch(to.failed)
    }
  return { byOrigin: new Map(), openerTo, tunnels }
}

function authorizationOf({ username, password }: URL): { readonly 'proxy-authorization'?: string } {
  if (username === '') return {}
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` }
}

/** An address in the origin needs no look-up, so the look-up's check would not see it. */
function requirePublic(origin: string, only?: 'https:'): void {
  const { protocol, hostname } = new URL(origin)
  const host = bare(hostname)
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

/** An IPv6 address without its brackets. */
function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '')
}
