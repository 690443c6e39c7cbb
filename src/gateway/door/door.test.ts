import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { until } from '../../../test/world.ts'
import { systemClock } from '../../lib/clock.ts'
import type { Body } from '../body.ts'
import { BodyBudget } from '../body.ts'
import type { Wire } from '../wire.ts'
import { Door } from './door.ts'

const bodyParts = {
  settings: { bodyBytesMax: 1_000, bodyIdleTimeoutMs: 1_000, bodyRateMin: 0 },
  budget: new BodyBudget(1_000_000),
  clock: systemClock,
  closing: new AbortController().signal,
}

/** A server whose door gives every POST to the test; Node's requests are answered with what they say. */
async function ground({ headersTimeoutMs = 60_000, keepAliveMs = 60_000 } = {}) {
  const wires: Wire[] = []
  const state = { isClosing: false }
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    response.end(`node: ${request.method} ${request.url} ${body}`)
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => socket.end(`HTTP/1.1 400 ${error.code}\r\n\r\n`))
  const takes = ({ method }: { readonly method: string }) => (method === 'POST' ? (wire: Wire) => void wires.push(wire) : undefined)
  const door = new Door(server, { clock: systemClock, headersTimeoutMs, keepAliveMs, isClosing: () => state.isClosing, takes })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const sockets: Socket[] = []
  return {
    ...{ wires, state, door, server },
    /** A connection, and all that was said on it. */
    async dial(options: { readonly allowHalfOpen?: boolean } = {}) {
      const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', ...options })
      sockets.push(socket)
      const heard = { text: '', hasEnded: false, isClosed: false }
      socket.on('data', chunk => (heard.text += chunk.toString('latin1')))
      socket.on('end', () => (heard.hasEnded = true)).on('close', () => (heard.isClosed = true))
      socket.on('error', () => {})
      await new Promise(resolve => socket.once('connect', resolve))
      return { socket, heard, hears: (what: string) => until(() => heard.text.includes(what), `heard ${JSON.stringify(heard.text)}`) }
    },
    async wire(at: number): Promise<Wire> {
      await until(() => wires.length > at, `there is no request ${at}`)
      return wires[at]!
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.closeAllConnections()
      door.closeAll()
      await new Promise(closed => server.close(closed))
    },
  }
}

function asked(body: string, more = ''): string {
  return `POST /x HTTP/1.1\r\nhost: h\r\n${more}content-length: ${body.length}\r\n\r\n${body}`
}

function answer(wire: Wire, text: string): void {
  wire.head(200, { 'x-a': 'b', 'content-length': String(text.length) })
  wire.endWhole(Buffer.from(text))
}

function textOf(wire: Wire): string {
  return (wire.read(bodyParts) as Body).bytes.toString()
}

test('one request after another comes by the same connection, and each answer says so', async () => {
  await using at = await ground()
  const { socket, heard, hears } = await at.dial()
  for (const [index, body] of ['one', 'two', ''].entries()) {
    socket.write(asked(body))
    const wire = await at.wire(index)
    expect([textOf(wire), wire.asking.url, wire.skipRest()]).toEqual([body, '/x', true])
    let over = 0
    wire.onOver(() => (over += 1))
    answer(wire, `to ${body}.`)
    await hears(`to ${body}.`)
    wire.cut() // Too late to be heard.
    expect(over).toBe(1)
  }
  const [head] = heard.text.split('\r\n\r\n')
  expect(head).toMatch(
    /^HTTP\/1\.1 200 OK\r\nx-a: b\r\ncontent-length: 7\r\ndate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\nconnection: keep-alive\r\nkeep-alive: timeout=60$/,
  )
})

test('what is sent ahead is answered in turn', async () => {
  await using at = await ground()
  const { socket, heard, hears } = await at.dial()
  socket.write(asked('one') + asked('two') + asked('three').slice(0, -2))
  const first = await at.wire(0)
  await pause(20)
  expect(at.wires.length).toBe(1)
  answer(first, 'first.')
  answer(await at.wire(1), 'second.')
  socket.write('ee')
  answer(await at.wire(2), 'third.')
  await hears('third.')
  expect(heard.text.match(/(first|second|third)\./g)).toEqual(['first.', 'second.', 'third.'])
})

test('however many are sent ahead, each is answered', async () => {
  await using at = await ground()
  const { socket, hears } = await at.dial()
  const all = Array.from({ length: 200 }, (_, index) => `${index} ${'x'.repeat(900)}`)
  socket.write(all.map(body => asked(body)).join(''))
  for (const [index, body] of all.entries()) {
    const wire = await at.wire(index)
    expect(textOf(wire)).toBe(body)
    answer(wire, `to ${index}.`)
  }
  await hears('to 199.')
})

test('more than a little is not read ahead', async () => {
  await using at = await ground()
  const { socket, hears } = await at.dial()
  socket.write(asked('one'))
  const first = await at.wire(0)
  socket.write(Buffer.alloc(12 * 1024 * 1024, 'x'))
  await pause(200)
  const unread = socket.writableLength
  await pause(200)
  expect([unread > 0, socket.writableLength]).toEqual([true, unread])
  answer(first, 'first.')
  await hears('first.')
  await hears('HPE_INVALID_METHOD')
})

test('a connection is Node’s from the first request on that is not plain, with what was read of it', async () => {
  await using at = await ground()
  const { socket, hears } = await at.dial()
  socket.write(asked('one'))
  answer(await at.wire(0), 'first.')
  await hears('first.')
  socket.write('PUT /y HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\ntwo')
  await pause(20)
  socket.write('\r\n2\r\n!!\r\n0\r\n\r\n')
  await hears('node: PUT /y two!!')
  socket.write(asked('three'))
  await hears('node: POST /x three')
  expect(at.wires.length).toBe(1)
})

test.for([
  ['in two pieces', 0],
  ['a while later, by Node', 150],
])('a body whose rest comes %s is read whole', async ([, laterMs]) => {
  await using at = await ground()
  const { socket, hears } = await at.dial()
  socket.write(asked('a whole body').slice(0, -5))
  await pause(Number(laterMs))
  socket.write(' body')
  if (laterMs === 0) answer(await at.wire(0), textOf(await at.wire(0)))
  await hears(laterMs === 0 ? '\r\n\r\na whole body' : 'node: POST /x a whole body')
})

test('a large body is Node’s to read', async () => {
  await using at = await ground()
  const { socket, hears } = await at.dial()
  socket.write(asked('x'.repeat(256 * 1024 + 1)))
  await hears('node: POST /x xxx')
  expect(at.wires.length).toBe(0)
})

test('a connection that says nothing is told so, and one that waits too long for its next call is closed', async () => {
  await using at = await ground({ headersTimeoutMs: 100, keepAliveMs: 150 })
  const [silent, kept] = [await at.dial(), await at.dial()]
  kept.socket.write(asked('one'))
  const wire = await at.wire(0)
  await silent.hears('ERR_HTTP_REQUEST_TIMEOUT')
  await pause(200)
  expect(kept.heard).toEqual({ text: '', hasEnded: false, isClosed: false }) // It is being answered.
  answer(wire, 'first.')
  await until(() => kept.heard.isClosed, 'it waits for ever')
  expect(kept.heard.text).toContain('first.')
})

test('however connections took turns, each that is silent too long is found', async () => {
  await using at = await ground({ headersTimeoutMs: 300, keepAliveMs: 100 })
  const [one, other] = [await at.dial(), await at.dial()]
  let calls = 0
  const call = async ({ socket, hears }: typeof one) => {
    socket.write(asked('x'))
    answer(await at.wire(calls), `answer ${calls}.`)
    await hears(`answer ${calls++}.`)
  }
  for (const who of [one, other, other, one, other]) await call(who)
  const silent = await at.dial()
  await call(one)
  await silent.hears('ERR_HTTP_REQUEST_TIMEOUT')
  await until(() => one.heard.isClosed && other.heard.isClosed, 'one is kept for ever')
})

test('a request of which a part is missing is no idle connection', async () => {
  await using at = await ground()
  const { socket, heard, hears } = await at.dial()
  socket.write(asked('one'))
  answer(await at.wire(0), 'first.')
  await hears('first.')
  socket.write(asked('whole').slice(0, -2))
  await pause(20)
  at.door.closeIdle()
  socket.write('le')
  await until(() => at.wires.length === 2 || heard.text.endsWith('node: POST /x whole'), 'it is not read')
})

test('what is Node’s to read of all that was sent ahead is read once', async () => {
  await using at = await ground()
  let requests = 0
  at.server.on('request', () => (requests += 1))
  const { socket, hears } = await at.dial()
  socket.write(asked('one'))
  const first = await at.wire(0)
  const body = 'x'.repeat(400_000)
  socket.write(`PUT /y HTTP/1.1\r\nhost: h\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  await pause(100)
  answer(first, 'first.')
  await hears('node: PUT /y xxx')
  await pause(50)
  expect(requests).toBe(1)
})

test('a small body keeps nothing of what was read along with it', async () => {
  await using at = await ground()
  const { socket } = await at.dial()
  socket.write(asked('small') + asked('x'.repeat(20_000)))
  const body = (await at.wire(0)).read(bodyParts) as Body
  expect([body.bytes.toString(), body.bytes.buffer.byteLength]).toEqual(['small', 5])
})

test('whoever is told that the connection ends has it ended; the others keep it until the doors close', async () => {
  await using at = await ground()
  const [before, idle, after] = [await at.dial(), await at.dial(), await at.dial()]
  before.socket.write(asked('one'))
  const first = await at.wire(0)
  first.beginStream(200, {})
  idle.socket.write(asked('two'))
  answer(await at.wire(1), 'second.')
  await idle.hears('second.')
  at.state.isClosing = true
  after.socket.write(asked('three'))
  answer(await at.wire(2), 'third.')
  await until(() => after.heard.isClosed, 'the told one is not closed')
  expect(after.heard.text).toMatch(/connection: close\r\n\r\nthird\.$/)
  first.end(Buffer.from('rest'))
  await before.hears('0\r\n\r\n')
  await pause(30)
  expect([before.heard.hasEnded, idle.heard.hasEnded]).toEqual([false, false])
  at.door.closeIdle()
  await until(() => before.heard.isClosed && idle.heard.isClosed, 'the idle ones are not closed')
})

test('a stream leaves as it is written: its head with the first piece, or alone', async () => {
  await using at = await ground()
  const { socket, heard, hears } = await at.dial()
  socket.write(asked('one'))
  const wire = await at.wire(0)
  wire.beginStream(200, { 'content-type': 'text/event-stream' })
  expect(heard.text).toBe('')
  await hears('\r\n\r\n')
  const large = Buffer.alloc(70_000, 0xff)
  for (const piece of [Buffer.from('data: é\n\n'), Buffer.alloc(0), large]) wire.write(piece)
  wire.end(Buffer.from('data: [DONE]\n\n'))
  await hears('\r\n0\r\n\r\n')
  const [head, body] = heard.text.split('\r\n\r\n', 1).concat(heard.text.slice(heard.text.indexOf('\r\n\r\n') + 4))
  expect(head).toContain('transfer-encoding: chunked')
  const event = Buffer.from('data: é\n\n').toString('latin1')
  expect(body).toBe(`a\r\n${event}\r\n11170\r\n${large.toString('latin1')}\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n`)
})

test('a reader who is slow is waited for, and an answer is over when the system has all of it', async () => {
  await using at = await ground()
  const { socket, heard } = await at.dial()
  socket.pause()
  socket.write(asked('one'))
  const wire = await at.wire(0)
  const part = Buffer.alloc(1024 * 1024, 'x')
  wire.head(200, { 'content-length': String(part.length * 12) })
  let isOver = false
  let written = 1
  wire.onOver(() => (isOver = true))
  while (wire.writePart(part)) written += 1
  expect(wire.isFull).toBe(true)
  let drained = 0
  wire.onDrain(() => (drained += 1))
  socket.resume()
  await until(() => drained === 1, 'nobody says that there is room')
  socket.pause()
  for (; written < 11; written += 1) wire.writePart(part)
  wire.endWhole(part)
  expect([wire.unsentBytes > 0, isOver]).toEqual([true, false])
  socket.resume()
  await until(() => isOver, 'it is never over')
  await until(() => heard.text.length > part.length * 12, 'not all of it came')
  expect([wire.unsentBytes, drained]).toEqual([0, 1])
})

test.for(['leaves', 'is cut', 'says that it will hear no more'])('a client that %s is told of', async how => {
  await using at = await ground()
  const { socket, heard } = await at.dial({ allowHalfOpen: true })
  socket.write(asked('one'))
  const wire = await at.wire(0)
  let over = 0
  const forgotten = () => (over += 100)
  wire.onOver(() => (over += 1))
  wire.onOver(forgotten)
  wire.offOver(forgotten)
  if (how === 'leaves') socket.destroy()
  else if (how === 'is cut') wire.cut()
  else socket.end()
  if (how !== 'leaves') await until(() => heard.hasEnded, 'the connection stays')
  socket.end()
  await until(() => over === 1, 'nobody hears of it')
  answer(wire, 'too late.')
  expect(heard.text).toBe('')
})

test('a header that would be two is not written', async () => {
  await using at = await ground()
  const { socket } = await at.dial()
  socket.write(asked('one'))
  const wire = await at.wire(0)
  expect(() => wire.head(200, { 'x-a': 'b\r\nx-c: d' })).toThrow('x-a')
})

test('a body that is larger than it may be is refused', async () => {
  await using at = await ground()
  const { socket } = await at.dial()
  socket.write(asked('x'.repeat(1_001)))
  const wire = await at.wire(0)
  expect(() => wire.read(bodyParts)).toThrow('Request body too large, limit is 1000B')
})
