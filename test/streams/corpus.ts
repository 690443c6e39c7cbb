import type { Script } from '../../sim/script.ts'
import { openSim } from '../../sim/sim.ts'
import { openStream } from '../client.ts'

/** A stream as an upstream sent it, and the protocol that it speaks. */
export interface Recorded {
  readonly name: string
  readonly protocol: 'responses' | 'chat'
  readonly bytes: Buffer
}

const scripts: Readonly<Record<string, Script>> = {
  'a plain answer': { text: 'one two three', deltas: 3 },
  'text in many scripts': { text: '水は低きに流れる 🌊 “größe” \u2028 ö'.repeat(3), deltas: 40 },
  'CR LF': { crlf: true, deltas: 4 },
  'comments between events': { comments: true, deltas: 4 },
  'no event lines': { omitEventLines: true, deltas: 4 },
  '[DONE] at the end': { doneMarker: true },
  'reasoning, a search, a picture, a text and a tool': {
    reasoning: 12,
    webSearches: 1,
    hugeEventBytes: 3_000,
    text: 'Yes.',
    toolCall: { name: 'open_gate', arguments: '{"width":3}' },
  },
  'an incomplete answer': { end: 'incomplete', afterEvents: 6 },
  'a failed answer': { end: 'failed', afterEvents: 6 },
}

/** Streams of the scripted upstream, the same with other line ends and oddities, and streams of chat completions. */
export async function recordedStreams(): Promise<readonly Recorded[]> {
  const recorded: Recorded[] = []
  for (const [name, script] of Object.entries(scripts)) recorded.push({ name, protocol: 'responses', bytes: await record(script) })
  const plain = recorded[0]!.bytes.toString()
  const also = (name: string, text: string) => recorded.push({ name, protocol: 'responses', bytes: Buffer.from(text) })
  also('CR alone', plain.replaceAll('\n', '\r'))
  also('all three line ends', mixedLineEnds(plain))
  also('a byte order mark', `\uFEFF${plain}`)
  also('several lines of data', plain.replaceAll('"sequence_number"', '\ndata: "sequence_number"'))
  also(
    'odd lines between',
    plain.replaceAll('\n\nevent: response.output', '\n\n: why\n\nid: 7\nretry: 10\n\n\n:\n\nevent: response.output'),
  )
  also('a missing blank line at the end', plain.slice(0, -1))
  return [...recorded, ...chatStreams()]
}

async function record(script: Script): Promise<Buffer> {
  await using sim = await openSim()
  sim.script({}, script)
  await using stream = openStream({ url: sim.url, key: 'up' })
  await stream.rest()
  return Buffer.from(stream.text)
}

function mixedLineEnds(text: string): string {
  const ends = ['\n', '\r\n', '\r']
  let line = 0
  return text.replaceAll('\n', () => ends[line++ % 3]!)
}

/** As OpenAI sends them when `stream_options.include_usage` is set: each chunk says `usage: null`, and one before the end what it is. */
function chatStreams(): Recorded[] {
  const deltas = [{ role: 'assistant', content: '' }, { content: 'Größe 🌊 ' }, { content: '“ja”' }]
  const shared = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'sim' }
  const chunk = (choices: object[], usage: object | null) => `data: ${JSON.stringify({ ...shared, choices, usage })}\n\n`
  const chunks = [
    ...deltas.map(delta => chunk([{ index: 0, delta, finish_reason: null }], null)),
    chunk([{ index: 0, delta: {}, finish_reason: 'stop' }], null),
    chunk([], { prompt_tokens: 9, completion_tokens: 12, total_tokens: 21 }),
    'data: [DONE]\n\n',
  ]
  const text = chunks.join('')
  return [
    { name: 'chat completions', protocol: 'chat', bytes: Buffer.from(text) },
    { name: 'chat completions by CR LF', protocol: 'chat', bytes: Buffer.from(text.replaceAll('\n', '\r\n')) },
    {
      name: 'chat completions with comments',
      protocol: 'chat',
      bytes: Buffer.from(text.replaceAll('\n\ndata: {"id"', '\n\n: busy\n\ndata: {"id"')),
    },
  ]
}
