import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { expect, test } from 'vitest'
import { until } from '../../test/world.ts'
import { systemClock } from '../lib/clock.ts'
import { BodyBudget, readBody } from './body.ts'

const whole = '{"model":"m"}'
const settings = { bodyBytesMax: 1_000, bodyIdleTimeoutMs: 1_000, bodyRateMin: 0 }

test.each([
  ['with its headers', [whole]],
  ['after them, in pieces', ['', '{"mod', 'el":"m"}']],
])('a small body that came %s is read at once, and to its end, and keeps nothing else in memory', async (_, [first, ...pieces]) => {
  const { promise: taken, resolve: take } = Promise.withResolvers<IncomingMessage>()
  const server = createServer(take)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.write(`POST / HTTP/1.1\r\nhost: h\r\ncontent-length: ${whole.length}\r\n\r\n${first}`)
  const request = await taken
  for (const piece of pieces) {
    const before = request.readableLength
    socket.write(piece)
    await until(() => request.readableLength > before, `${piece} arrives`)
  }
  const budget = new BodyBudget(1_000)
  const body = readBody(request, { settings, budget, clock: systemClock, closing: new AbortController().signal })
  await until(() => request.readableEnded, 'the request ends')
  socket.destroy()
  server.close()
  if (body instanceof Promise) throw new Error('it was waited for')
  expect([body.bytes.toString(), body.bytes.buffer.byteLength, budget.takenBytes]).toEqual([whole, whole.length, whole.length])
  body[Symbol.dispose]()
  expect(budget.takenBytes).toBe(0)
})
