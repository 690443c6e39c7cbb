import { openSim } from '../../sim/sim.ts'

/** An answer's bytes as they stand on the wire, made once; from call to call only the ids in it change. */
export interface Prepared {
  readonly bytes: Buffer
  /** Where each write ends: one for JSON, one an event for a stream. */
  readonly ends: readonly number[]
  /** Where the part of the ids stands that changes. */
  readonly idsAt: readonly number[]
  readonly idLength: number
  /** Of the body alone, as a client counts it. */
  readonly bodyBytes: number
}

export interface Answers {
  readonly json: Prepared
  readonly stream: Prepared
}

export const model = 'sim'
export const eventsPerStream = 100
/** `created`, `in_progress`, the two beginnings and the three ends of the item and its part, and `completed`. */
const eventsAroundDeltas = 8

const text =
  'A headgate is the gate at the top of an irrigation canal. Many farms share one stream; the headgate lets each have the measure that it ' +
  'is owed, keeps count of what flowed, and when one channel breaks it sends the water down another. Nobody downstream has to know.'

/** What the scripted upstream of `sim` says, word for word: it is asked once for each. */
export async function prepareAnswers(): Promise<Answers> {
  await using sim = await openSim({ prices: { [model]: { input: '2', output: '10' } } })
  sim.script({}, { text, deltas: eventsPerStream - eventsAroundDeltas, outputTokens: 60 })
  const ask = async (stream: boolean) => {
    const body = JSON.stringify({ model, input: 'Which farms are owed water?', stream, store: false })
    const headers = { authorization: 'Bearer sk-bench', 'content-type': 'application/json' }
    return (await fetch(`${sim.url}/v1/responses`, { method: 'POST', headers, body })).text()
  }
  return { json: prepareJson(await ask(false)), stream: prepareStream(await ask(true)) }
}

const headers = 'x-request-id: req_bench\r\nopenai-processing-ms: 4\r\nopenai-version: 2020-10-01\r\n'

function prepareJson(body: string): Prepared {
  const length = Buffer.byteLength(body)
  const wire = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n${headers}content-length: ${length}\r\n\r\n${body}`
  return prepared([wire], body)
}

function prepareStream(body: string): Prepared {
  const events = body.split(/(?<=\n\n)/)
  if (events.length !== eventsPerStream) throw new Error(`the stream has ${events.length} events, not ${eventsPerStream}`)
  const chunks = events.map(event => `${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`)
  chunks[0] = `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n${headers}transfer-encoding: chunked\r\n\r\n${chunks[0]}`
  chunks[chunks.length - 1] += '0\r\n\r\n'
  return prepared(chunks, body)
}

function prepared(writes: readonly string[], body: string): Prepared {
  const id = /"id":"resp_([^"]+)"/.exec(body)?.[1]
  if (id === undefined) throw new Error(`the scripted upstream gave no response: ${body.slice(0, 300)}`)
  const bytes = Buffer.from(writes.join(''))
  const idsAt: number[] = []
  for (let at = bytes.indexOf(id); at !== -1; at = bytes.indexOf(id, at + 1)) idsAt.push(at)
  let end = 0
  const ends = writes.map(write => (end += Buffer.byteLength(write)))
  return { bytes, ends, idsAt, idLength: id.length, bodyBytes: Buffer.byteLength(body) }
}
