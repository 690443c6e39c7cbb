import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { between, oneOf, randomFrom, seedsFrom } from '../../../test/chance.ts'
import { readPlain } from './plain-request.ts'

const isFull = process.env.HEADGATE_TEST_FULL !== undefined

/** What Node makes of the first request of some bytes: the same as `readPlain`, or that it is none. */
interface NodeRead {
  readonly method: string
  readonly url: string
  readonly headers: object
  readonly body: string
}

let read: NodeRead | undefined
const server = createServer(async (request, response) => {
  const { method = '', url = '', headers } = request
  read = { method, url, headers: { ...headers }, body: (await buffer(request)).toString('latin1') }
  response.writeHead(200, { connection: 'close' }).end()
})

beforeAll(() => new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve)))
afterAll(() => void server.close())

async function readByNode(bytes: Buffer): Promise<NodeRead | undefined> {
  read = undefined
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(bytes)
  await buffer(socket).catch(() => {})
  return read
}

const whole = 'POST /v1/responses?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nX-Some:  b\tc \t\r\nx-empty:\r\n\r\n{}'

test('a plain request is read as Node reads it', async () => {
  const bytes = Buffer.from(whole, 'latin1')
  const { method, url, headers, bodyFrom, end } = readPlain(bytes)!
  expect({ method, url, headers: { ...headers }, body: bytes.toString('latin1', bodyFrom, end) }).toEqual(await readByNode(bytes))
  expect(headers['x-some']).toBe('b\tc')
})

test('a body that is not all here ends where it will end, and what follows it is not looked at', () => {
  expect(readPlain(Buffer.from(whole.slice(0, -1)))).toMatchObject({ bodyFrom: whole.length - 2, end: whole.length })
  expect(readPlain(Buffer.from(`${whole}GET`))).toMatchObject({ end: whole.length })
})

const line = 'POST /v1/responses HTTP/1.1'

/** Each of them has, or may have, a meaning of its own; Node is to say which. */
const left: readonly (readonly [string, string])[] = [
  ['no host', `${line}\r\ncontent-length: 0\r\n\r\n`],
  ['a head that goes on', `${line}\r\nhost: h\r\n`],
  ['chunks', `${line}\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['a length and chunks', `${line}\r\nhost: h\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['two lengths', `${line}\r\nhost: h\r\ncontent-length: 1\r\nContent-Length: 2\r\n\r\n{}`],
  ['a list of lengths', `${line}\r\nhost: h\r\ncontent-length: 2, 2\r\n\r\n{}`],
  ['a length with a sign', `${line}\r\nhost: h\r\ncontent-length: +2\r\n\r\n{}`],
  ['a length that is hexadecimal', `${line}\r\nhost: h\r\ncontent-length: 0x2\r\n\r\n{}`],
  ['a length beyond numbers', `${line}\r\nhost: h\r\ncontent-length: 99999999999999999999\r\n\r\n`],
  ['a blank length', `${line}\r\nhost: h\r\ncontent-length:\r\n\r\n`],
  ['a packed body', `${line}\r\nhost: h\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n\r\n`],
  ['an expectation', `${line}\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n{}`],
  ['an upgrade', `GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`],
  ['a connection that is to be closed', `${line}\r\nhost: h\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`],
  ['HTTP/1.0', 'POST / HTTP/1.0\r\nhost: h\r\n\r\n'],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['another method', 'PUT / HTTP/1.1\r\nhost: h\r\n\r\n'],
  ['an address with its origin', 'POST http://h/ HTTP/1.1\r\nhost: h\r\n\r\n'],
  ['a blank in the address', 'POST /a b HTTP/1.1\r\nhost: h\r\n\r\n'],
  ['a blank before the colon', `${line}\r\nhost : h\r\n\r\n`],
  ['a blank before the name', `${line}\r\nhost: h\r\n x: y\r\n\r\n`],
  ['no name', `${line}\r\nhost: h\r\n: y\r\n\r\n`],
  ['no colon', `${line}\r\nhost: h\r\nx\r\n\r\n`],
  ['a line that ends in half', `${line}\r\nhost: h\nx: y\r\n\r\n`],
  ['the other half', `${line}\r\nhost: h\rx: y\r\n\r\n`],
  ['a zero in a value', `${line}\r\nhost: h\r\nx: a\0b\r\n\r\n`],
  ['a name twice', `${line}\r\nhost: h\r\nx: a\r\nX: b\r\n\r\n`],
  ['a head that is too long', `${line}\r\nhost: h\r\nx: ${'a'.repeat(16_400)}\r\n\r\n`],
  ['empty lines first', `\r\n${line}\r\nhost: h\r\n\r\n`],
]

test.for(left)('left to Node: %s', ([, text]) => {
  expect(readPlain(Buffer.from(text, 'latin1'))).toBeUndefined()
})

const pieces = ['\r\n', '\n', '\r', ' ', '\t', ':', '\0', 'é', '\x7f', ',', '__proto__: x\r\n', 'content-length: 1\r\n', 'host: g\r\n']
const names = ['x', 'Content-Type', 'AUTHORIZATION', 'set-cookie', 'cookie', '__proto__', 'constructor', 'x~!#', 'accept', 'te', 'date']

/** A request as it should be, but for what chance does to it. */
function requestFrom(chance: () => number): Buffer {
  const body = 'b'.repeat(between(chance, 0, 20))
  const headers = names.filter(() => chance() < 0.3).map(name => `${name}: ${'v\tw é'.slice(0, between(chance, 0, 5))}`)
  const given = ['Host: h', `Content-Length: ${body.length}`, ...headers].sort(() => chance() - 0.5)
  const start = `${oneOf(chance, ['GET', 'POST', 'DELETE'])} ${oneOf(chance, ['/', '/v1/responses', '/a?b=%20&c', '/~!$'])} HTTP/1.1`
  let text = `${start}\r\n${given.join('\r\n')}\r\n\r\n${body}`
  for (let left = oneOf(chance, [0, 0, 1, 1, 2, 4]); left > 0; left -= 1) {
    const at = between(chance, 0, text.length)
    text = text.slice(0, at) + oneOf(chance, pieces) + text.slice(at + oneOf(chance, [0, 0, 1]))
  }
  return Buffer.from(text, 'latin1')
}

test.for(seedsFrom(1, isFull ? 20 : 2))('whatever is taken for plain Node reads just so, seed %i', async seed => {
  const chance = randomFrom(seed)
  let taken = 0
  for (let made = 0; made < 400; made += 1) {
    const bytes = requestFrom(chance)
    const plain = readPlain(bytes)
    if (plain === undefined || plain.end > bytes.length) continue
    taken += 1
    const { method, url, headers, bodyFrom, end } = plain
    const ours = { method, url, headers: { ...headers }, body: bytes.toString('latin1', bodyFrom, end) }
    const { headers: nodes, ...node } = (await readByNode(bytes.subarray(0, end))) ?? { headers: undefined }
    expect({ ...ours, headers: listed(ours.headers) }, JSON.stringify(bytes.toString('latin1'))).toEqual({
      ...node,
      headers: nodes && listed(nodes),
    })
  }
  expect(taken).toBeGreaterThan(100)
})

/** Node has no header of this name, and gives the one that may come several times as a list. */
function listed(headers: object): unknown {
  return Object.entries(headers)
    .filter(([name]) => name !== '__proto__')
    .map(([name, value]) => [name, Array.isArray(value) ? value.join() : value])
    .sort()
}
