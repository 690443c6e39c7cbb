import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { type Egress, openEgress } from './egress.ts'
import { certificate, certificateKey } from './http1/certificate.fixture.ts'
import { hasAsked, openRawUpstream, type RawUpstream } from './http1/raw-upstream.fixture.ts'
import { ask } from './http1/told.fixture.ts'

const usual = getCACertificates('default')
beforeAll(() => setDefaultCACertificates([...usual, certificate]))
afterAll(() => setDefaultCACertificates(usual))

const tls = { cert: certificate, key: certificateKey }
const mebibyte = 1024 * 1024
const sent = Buffer.from(Array.from({ length: mebibyte }, (_, at) => at % 251))

/** Answers what it was sent so far, in one chunk of one byte and one of the rest. */
function openUpstream(isSecure: boolean): Promise<RawUpstream> {
  const server = isSecure ? createTlsServer(tls) : undefined
  return openRawUpstream(seen => {
    if (!hasAsked(seen)) return
    seen.socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n')
    seen.socket.write(sent.subarray(0, 1))
    seen.socket.write(`\r\n${(sent.length - 1).toString(16)}\r\n`)
    seen.socket.write(sent.subarray(1))
    seen.socket.write('\r\n0\r\n\r\n')
  }, server)
}

interface Proxy extends AsyncDisposable {
  readonly port: number
  readonly asked: Array<{ readonly target: string; readonly headers: object }>
}

/** Makes tunnels to one port, whatever it is asked for. */
async function openProxy({ isSecure = false, status = 200, port = 0 }): Promise<Proxy> {
  const asked: Proxy['asked'] = []
  const proxy: Server = isSecure ? createSecureServer(tls) : createServer()
  const sockets = new Set<Socket>()
  proxy.on('connect', (request, socket: Socket) => {
    sockets.add(socket)
    asked.push({ target: request.url ?? '', headers: request.headers })
    if (status !== 200) return socket.end(`HTTP/1.1 ${status} No\r\n\r\n`)
    const tunnel = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      socket.pipe(tunnel).pipe(socket)
    })
    socket.on('error', () => tunnel.destroy())
    tunnel.on('error', () => socket.destroy())
  })
  await once(proxy.listen(0, '127.0.0.1'), 'listening')
  return {
    port: (proxy.address() as AddressInfo).port,
    asked,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      proxy.closeAllConnections()
      proxy.close()
    },
  }
}

function open(): Egress & AsyncDisposable {
  const egress = openEgress({ connectTimeoutMs: 1000 }, systemClock)
  return { ...egress, [Symbol.asyncDispose]: () => egress.close() }
}

test('an upstream that speaks TLS is read like any other, and its connection used again', async () => {
  await using upstream = await openUpstream(true)
  await using egress = open()
  for (const origin of [`https://127.0.0.1:${upstream.port}`, `https://localhost:${upstream.port}`]) {
    for (let n = 0; n < 2; n += 1) {
      const told = await ask(egress, { origin }).over
      expect(told.error).toBeUndefined()
      expect(Buffer.concat(told.pieces).equals(sent)).toBe(true)
    }
  }
  expect(upstream.seen).toHaveLength(2)
})

test('by TLS too, silence is kept while it is asked for', async () => {
  await using upstream = await openUpstream(true)
  await using egress = open()
  let isSilent = false
  const told = ask(egress, { origin: `https://localhost:${upstream.port}` }, (event, { control }) => {
    if (event !== 'body') return
    expect(isSilent).toBe(false)
    isSilent = true
    control.pause()
  })
  await told.until('body')
  while (told.events.at(-1) === 'body') {
    await new Promise(setImmediate)
    isSilent = false
    told.control.resume()
  }
  expect(Buffer.concat((await told.over).pieces).equals(sent)).toBe(true)
})

test('an upstream whose certificate is another’s is not asked', async () => {
  await using upstream = await openUpstream(true)
  await using proxy = await openProxy({ port: upstream.port })
  await using egress = open()
  const route = { proxy: `http://127.0.0.1:${proxy.port}`, allowPrivateAddress: true }
  const told = await ask(egress, { origin: 'https://elsewhere.example', route }).over
  expect(told).toMatchObject({ events: ['error'], error: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' } })
})

test.for([
  [false, false, 'elsewhere.example:80'],
  [false, true, 'upstream.example:443'],
  [true, false, 'elsewhere.example:80'],
  [true, true, 'upstream.example:443'],
] as const)('through a proxy (by TLS: %o) goes a tunnel to an upstream (by TLS: %o)', async ([isSecureProxy, isSecure, target]) => {
  await using upstream = await openUpstream(isSecure)
  await using proxy = await openProxy({ isSecure: isSecureProxy, port: upstream.port })
  await using egress = open()
  const name = isSecureProxy ? 'https://us%40er:p%3Ass@localhost' : 'http://us%40er:p%3Ass@localhost'
  const route = { proxy: `${name}:${proxy.port}`, allowPrivateAddress: true }
  // A name that no certificate has: the proxy shows its own.
  const host = isSecure ? 'upstream.example' : 'elsewhere.example'
  for (let n = 0; n < 2; n += 1) {
    const told = await ask(egress, { origin: isSecure ? `https://${host}` : `http://${host}`, route }).over
    expect(told.error).toBeUndefined()
    expect(Buffer.concat(told.pieces).equals(sent)).toBe(true)
  }
  await egress.close()
  await vi.waitFor(() => expect(upstream.seen[0]!.isClosed).toBe(true))
  const authorization = `Basic ${Buffer.from('us@er:p:ss').toString('base64')}`
  expect(proxy.asked).toMatchObject([{ target, headers: { host, 'proxy-authorization': authorization } }])
  expect(upstream.seen).toHaveLength(1)
  expect(upstream.seen[0]!.text).toContain(`GET /v1/models HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n\r\n`)
})

test.for([403, 407, 502])('a proxy that answers %i makes no tunnel, and nothing was sent', async status => {
  await using proxy = await openProxy({ status })
  await using egress = open()
  const route = { proxy: `http://127.0.0.1:${proxy.port}`, allowPrivateAddress: true }
  const told = await ask(egress, { origin: 'https://upstream.example', route }).over
  expect(told.events).toEqual(['error'])
  expect(told.error?.message).toContain(String(status))
})

test.for<[string, (socket: Socket) => void]>([
  ['ends', socket => socket.end()],
  ['is reset', socket => socket.resetAndDestroy()],
])('a tunnel that %s before TLS is agreed upon was no connection', async ([, happens]) => {
  const proxy = createServer().on('connect', (_, socket: Socket) => {
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
    socket.on('error', () => {}).once('data', () => happens(socket))
  })
  await once(proxy.listen(0, '127.0.0.1'), 'listening')
  await using egress = open()
  const route = { proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, allowPrivateAddress: true }
  const told = await ask(egress, { origin: 'https://upstream.example', route }).over
  expect(told).toMatchObject({ events: ['error'], error: { code: 'ECONNRESET' } })
  proxy.close()
})

test('closing does not wait for a proxy that says nothing', async () => {
  await using silent = await openRawUpstream(() => {})
  await using egress = open()
  const route = { proxy: `http://127.0.0.1:${silent.port}`, allowPrivateAddress: true }
  const told = ask(egress, { origin: 'https://upstream.example', route })
  await once(silent.seen[0]?.socket ?? (await firstOf(silent)), 'data')
  await egress.close()
  expect(await told.over).toMatchObject({ events: ['error'], error: { code: 'HEADGATE_EGRESS_CLOSED' } })
})

async function firstOf({ seen }: RawUpstream): Promise<Socket> {
  while (seen.length === 0) await new Promise(setImmediate)
  return seen[0]!.socket
}
