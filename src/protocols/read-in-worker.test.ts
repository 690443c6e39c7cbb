import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Worker } from 'node:worker_threads'
import { afterEach, expect, test } from 'vitest'
import { responses } from './openai-responses.ts'
import type { CallReading } from './protocol.ts'
import { allocateBody, CallReaderBroken, openCallReader, readAtOnceBytesMax } from './read-in-worker.ts'

let reader = openCallReader()
afterEach(async () => {
  await reader.close()
  reader = openCallReader()
})

/** A body of exactly so many bytes. */
function bodyOf(bytes: number, { model = 'gpt-5.5', shared = true } = {}): Buffer {
  const head = `{"model":"${model}","input":"`
  const text = `${head}${'x'.repeat(bytes - head.length - 2)}"}`
  const body = shared ? allocateBody(bytes) : Buffer.alloc(bytes)
  body.write(text)
  return body
}

function modelOf(reading: CallReading): string {
  return 'facts' in reading ? reading.facts.model : reading.fault
}

test('a body up to the limit is read at once, one byte more in the worker', async () => {
  const small = reader.read(bodyOf(readAtOnceBytesMax), responses)
  expect(small).not.toBeInstanceOf(Promise)
  const large = reader.read(bodyOf(readAtOnceBytesMax + 1), responses)
  expect(large).toBeInstanceOf(Promise)
  expect(modelOf(await large)).toBe('gpt-5.5')
})

test('a large body says the same in the worker as it would at once, shared or not, and its bytes stay as they were', async () => {
  for (const shared of [true, false]) {
    const body = bodyOf(readAtOnceBytesMax * 4, { shared })
    const before = Buffer.from(body)
    const reading = await reader.read(body, responses)
    expect(reading).toMatchObject({
      facts: { fields: { model: { valueStart: 9, valueEnd: 18 } }, inputTokensEstimate: expect.any(Number) },
    })
    expect(body.equals(before)).toBe(true)
  }
})

test('a part of a larger buffer is read alone', async () => {
  const whole = allocateBody(readAtOnceBytesMax * 3)
  const body = whole.subarray(1000, 1000 + readAtOnceBytesMax * 2)
  bodyOf(body.length).copy(body)
  expect(modelOf(await reader.read(body, responses))).toBe('gpt-5.5')
})

test('many large bodies each get their own reading', async () => {
  const models = Array.from({ length: 20 }, (_, i) => `model-${i}`)
  const readings = await Promise.all(models.map(model => reader.read(bodyOf(readAtOnceBytesMax + 100, { model }), responses)))
  expect(readings.map(modelOf)).toEqual(models)
})

test('bodies that would crush the parser are unparsable, and the next one is read', async () => {
  const depth = 1_000_000
  const nested = Buffer.from(`{"model":"a","input":${'['.repeat(depth)}${']'.repeat(depth)}}`)
  const wide = Buffer.from(`{"model":"a","input":[${'[],'.repeat(6_000_000)}0]}`)
  const readings = await Promise.all(
    [nested, wide, Buffer.alloc(readAtOnceBytesMax * 2, ' '), bodyOf(readAtOnceBytesMax * 2)].map(body => reader.read(body, responses)),
  )
  expect(readings.map(modelOf)).toEqual(['body_unparsable', 'body_unparsable', 'body_empty', 'gpt-5.5'])
})

test('when the worker dies, the body it was reading is rejected, and those behind it are read by the next one', async () => {
  const workers: Worker[] = []
  const mortal = openCallReader({
    startWorker(module, options) {
      const worker = new Worker(module, options)
      workers.push(worker)
      return worker
    },
  })
  const first = mortal.read(bodyOf(50 * 1024 * 1024), responses)
  const behind = [2, 3].map(times => mortal.read(bodyOf(readAtOnceBytesMax * times), responses))
  await workers[0]?.terminate()
  await expect(first).rejects.toBeInstanceOf(CallReaderBroken)
  expect((await Promise.all(behind)).map(modelOf)).toEqual(['gpt-5.5', 'gpt-5.5'])
  expect(workers).toHaveLength(2)
  await mortal.close()
})

test('closing rejects what is being read and all that comes later, and is safe twice', async () => {
  const reading = reader.read(bodyOf(50 * 1024 * 1024), responses)
  const behind = reader.read(bodyOf(readAtOnceBytesMax * 2), responses)
  const closed = Promise.all([reader.close(), reader.close()])
  await expect(reading).rejects.toBeInstanceOf(CallReaderBroken)
  await expect(behind).rejects.toBeInstanceOf(CallReaderBroken)
  await closed
  await expect(reader.read(bodyOf(readAtOnceBytesMax * 2), responses)).rejects.toBeInstanceOf(CallReaderBroken)
})

test('a shared body can be sent as it is, in slices', async () => {
  const body = bodyOf(readAtOnceBytesMax * 8)
  const received: Buffer[] = []
  const server = createServer((incoming, answer) => incoming.on('data', chunk => received.push(chunk)).on('end', () => answer.end()))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise<void>((resolve, reject) => {
    const outgoing = request({ port, method: 'POST' }, answer => answer.resume().on('end', resolve)).on('error', reject)
    outgoing.write(body.subarray(0, 1_000_000))
    outgoing.end(body.subarray(1_000_000))
  })
  server.close()
  expect(Buffer.concat(received).equals(body)).toBe(true)
})
