import { createServer, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { gzipSync } from 'node:zlib'
import { type Bulk, type BulkTask, eventsOf, type Sent } from './bulk.ts'

/** The side of a test that is busy itself: in a thread of its own, so that its own pauses are not taken for the gateway's. */
const { task } = workerData as { readonly task: BulkTask }
if (task === 'upstream') listen()
else parentPort!.once('message', (bulk: Bulk) => void sendAll(bulk))

const headBytes = 4096

/** Answers a stream with the events of the number in its input, and anything else with a few words. It looks at no large body. */
function listen(): void {
  const server = createServer({ keepAliveTimeout: 600_000 }, (incoming, response) => {
    let head = ''
    incoming.on('data', (chunk: Buffer) => {
      if (head.length < headBytes) head += chunk.toString('latin1', 0, headBytes)
    })
    incoming.once('end', () => void answer(head, response))
  })
  server.listen(0, '127.0.0.1', () => parentPort!.postMessage((server.address() as AddressInfo).port))
}

async function answer(head: string, response: ServerResponse): Promise<void> {
  const asked = /"input":"stream (\d+) of (\d+) every (\d+) ms"/.exec(head)
  if (asked === null) {
    const usage = { input_tokens: 1, output_tokens: 1, total_tokens: 2 }
    const said = { id: 'resp_1', object: 'response', status: 'completed', model: 'bulk', output: [], usage }
    return void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(said))
  }
  const [number, count, everyMs] = asked.slice(1).map(Number) as [number, number, number]
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  for (const event of eventsOf(number, count)) {
    response.write(event)
    await delay(everyMs)
  }
  response.end()
}

/** Sends so many bodies at once, and says how each was answered. */
async function sendAll(bulk: Bulk): Promise<void> {
  const head = `{"model":${JSON.stringify(bulk.model)},"input":"`
  const plain = Buffer.alloc(bulk.bytes, 'words and more words, ')
  plain.write(head)
  plain.write('"}', plain.length - 2)
  const body = bulk.how === 'gzip' ? gzipSync(plain, { level: 1 }) : plain
  parentPort!.postMessage('ready')
  await new Promise(resolve => parentPort!.once('message', resolve))
  const sent = await Promise.all(Array.from({ length: bulk.count }, () => sendOne(bulk, body)))
  parentPort!.postMessage(sent)
}

function sendOne({ url, key, how }: Bulk, body: Buffer): Promise<Sent> {
  const length = how === 'chunked' ? {} : { 'content-length': String(body.length) }
  const encoding = how === 'gzip' ? { 'content-encoding': 'gzip' } : {}
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}`, ...length, ...encoding }
  return new Promise(resolve => {
    const outgoing = request(`${url}/v1/responses`, { method: 'POST', headers, agent: false })
    outgoing.on('error', error => resolve({ status: 0, retryAfter: undefined, text: error.message }))
    outgoing.on('response', response => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode!, retryAfter: response.headers['retry-after'], text }))
      response.on('error', error => resolve({ status: 0, retryAfter: undefined, text: error.message }))
    })
    outgoing.end(body)
  })
}
