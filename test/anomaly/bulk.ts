import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

export type BulkTask = 'upstream' | 'client'

/** Bodies of so many bytes each, so many at once. */
export interface Bulk {
  readonly url: string
  readonly key: string
  readonly model: string
  readonly bytes: number
  readonly count: number
  readonly how: 'plain' | 'chunked' | 'gzip'
}

/** How one of them was answered; status 0: not at all. */
export interface Sent {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly text: string
}

/** An upstream that reads anything, and streams what `eventsOf` says. */
export async function openBulkUpstream(): Promise<{ readonly url: string } & AsyncDisposable> {
  const worker = start('upstream')
  const [port] = await once(worker, 'message')
  return { url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => void (await worker.terminate()) }
}

/** Makes the bodies, and sends them when told to. */
export async function prepareBulk(bulk: Bulk): Promise<{ send(): Promise<readonly Sent[]> } & AsyncDisposable> {
  const worker = start('client')
  worker.postMessage(bulk)
  await once(worker, 'message')
  return {
    async send() {
      worker.postMessage('go')
      const [sent] = await once(worker, 'message')
      return sent as readonly Sent[]
    },
    [Symbol.asyncDispose]: async () => void (await worker.terminate()),
  }
}

function start(task: BulkTask): Worker {
  return new Worker(new URL('./bulk-worker.ts', import.meta.url), { workerData: { task } })
}

/** The input for which the upstream streams `eventsOf(number, count)`. */
export function inputOf(number: number, count: number, everyMs: number): string {
  return `stream ${number} of ${count} every ${everyMs} ms`
}

/** So many events, always the same for a number: both sides can say which bytes they are. */
export function* eventsOf(number: number, count: number): Iterable<string> {
  const response = { id: `resp_${number}`, object: 'response', model: 'bulk', output: [] }
  yield eventOf('response.created', 0, { response: { ...response, status: 'in_progress' } })
  for (let sequence = 1; sequence < count - 1; sequence += 1) {
    const delta = `${number}·${sequence}: ${'…words'.repeat(1 + ((number * 31 + sequence * 17) % 29))}`
    yield eventOf('response.output_text.delta', sequence, { item_id: `msg_${number}`, output_index: 0, content_index: 0, delta })
  }
  const usage = { input_tokens: 10, output_tokens: count, total_tokens: 10 + count }
  yield eventOf('response.completed', count - 1, { response: { ...response, status: 'completed', usage } })
}

function eventOf(type: string, sequence: number, fields: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence, ...fields })}\n\n`
}
