import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { countTokens } from 'gpt-tokenizer/encoding/o200k_base'
import { expect, test } from 'vitest'
import { systemClock } from '../lib/clock.ts'
import { type Countable, countsWaitingMax, openTokenCounter, type TokenCounterOptions } from './count-in-worker.ts'

/** Long enough for a busy machine to start a worker and load the vocabulary. */
const patient = 30_000

function opened(options: Partial<TokenCounterOptions> = {}) {
  const counter = openTokenCounter({ clock: systemClock, estimateWithinMs: patient, ...options })
  return Object.assign(counter, { [Symbol.asyncDispose]: () => counter.close() })
}

/** A worker that does with each message what the code says. */
const worker = (code: string) => new Worker(`require('node:worker_threads').parentPort.on('message', () => { ${code} })`, { eval: true })

const asked: Countable = { body: Buffer.from('{"input":"hello there"}'), inputTexts: [], outputTexts: ['well met'] }
const counted = { inputTokens: countTokens('hello there'), outputTokens: countTokens('well met') }

test('input and output are counted by the vocabulary', async () => {
  await using counter = opened()
  const body = {
    instructions: 'Be brief.',
    input: [{ role: 'user', content: [{ type: 'input_text', text: 'Which farm is next?' }] }],
    tools: [{ type: 'function', name: 'open_gate' }],
  }
  const texts = ['Be brief.', 'Which farm is next?', JSON.stringify(body.tools), 'added']
  const counts = await counter.count({ body: Buffer.from(JSON.stringify(body)), inputTexts: ['added'], outputTexts: ['The', ' third.'] })
  expect(counts).toEqual({
    inputTokens: texts.reduce((sum, text) => sum + countTokens(text), 0),
    outputTokens: countTokens('The') + countTokens(' third.'),
  })
})

test('a body in shared memory, or a part of a larger buffer, is read alone', async () => {
  await using counter = opened()
  const text = 'xx{"input":"hello there"}xx'
  const shared = Buffer.from(new SharedArrayBuffer(text.length))
  shared.write(text)
  for (const whole of [shared, Buffer.from(text)]) {
    expect(await counter.count({ ...asked, body: whole.subarray(2, -2) })).toEqual(counted)
  }
})

test('without a body there is no input to count', async () => {
  await using counter = opened()
  expect(await counter.count({ ...asked, body: undefined })).toEqual({ ...counted, inputTokens: undefined })
})

test('no thread is started before something is to be counted', async () => {
  let started = 0
  await using _ = opened({ startWorker: module => new Worker(module, { name: String((started += 1)) }) })
  expect(started).toBe(0)
})

test.each([
  ['dies', () => worker('process.exit()')],
  ['fails', () => worker('throw new Error()')],
  ['never answers', () => worker('')],
] as const)('there is no count when the worker %s, and the next one has another', async (what, broken) => {
  const workers = [broken()]
  const estimateWithinMs = what === 'never answers' ? 20 : patient
  await using counter = opened({ estimateWithinMs, startWorker: module => workers.pop() ?? new Worker(module) })
  expect(await counter.count(asked)).toBeUndefined()
  if (what !== 'never answers') expect(await counter.count(asked)).toEqual(counted)
})

test('what nobody waits for any more is not begun', async () => {
  const slow = worker('')
  const given: unknown[] = []
  const post = slow.postMessage.bind(slow)
  slow.postMessage = (message: unknown) => {
    given.push(message)
    post(message)
  }
  await using counter = opened({ estimateWithinMs: 20, startWorker: () => slow })
  expect(await Promise.all([counter.count(asked), counter.count(asked)])).toEqual([undefined, undefined])
  expect(given.length).toBe(1)
})

test('behind too many there is no waiting', async () => {
  await using counter = opened({ startWorker: () => worker('') })
  const waiting = Array.from({ length: countsWaitingMax }, () => counter.count(asked))
  expect(await counter.count(asked)).toBeUndefined()
  await counter.close()
  expect(await Promise.all(waiting)).toEqual(waiting.map(() => undefined))
  expect(await counter.count(asked)).toBeUndefined()
})

test('a worker at rest does not keep the program alive', async () => {
  const code = `
    import { openTokenCounter } from ${JSON.stringify(new URL('./count-in-worker.ts', import.meta.url).href)}
    import { systemClock } from ${JSON.stringify(new URL('../lib/clock.ts', import.meta.url).href)}
    const alive = setInterval(() => {}, 1000)
    const counter = openTokenCounter({ clock: systemClock, estimateWithinMs: ${patient} })
    console.log(await counter.count({ body: undefined, inputTexts: [], outputTexts: ['one'] }))
    clearInterval(alive)`
  const program = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`))
  expect(await once(program, 'exit')).toEqual([0])
})
