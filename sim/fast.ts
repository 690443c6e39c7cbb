import { once } from 'node:events'
import { type Answer, type FinalStatus, finalStatus, finishedItem, responseObject } from './answer.ts'
import { draftEvents, frame, terminalEvent } from './events.ts'
import { pause, type Run } from './run.ts'
import type { Script } from './script.ts'
import { reportUsage, type TokenUsage } from './usage.ts'

/** An answer made once. Each frame is cut at the places where the ids differ from call to call. */
export interface FastAnswer {
  readonly frames: readonly (readonly string[])[]
  readonly charged: TokenUsage
  readonly isUsageReported: boolean
  readonly ended: FinalStatus
  readonly model: string
  readonly tier: string
  readonly headers: Readonly<Record<string, string | string[]>>
}

/** `suffix` is that of the answer's ids; every later one must be as long, because the content length stands. */
export function makeFast(answer: Answer, suffix: string): FastAnswer {
  const { script, asked } = answer
  const { wire, charged } = reportUsage(answer.used, script.usage)
  const status = finalStatus(answer)
  const ending = { status, items: answer.output.parts.map(finishedItem), usage: wire, webSearches: charged.webSearches }
  const headers: Record<string, string | string[]> = { 'content-type': 'application/json' }
  const texts: string[] = []
  if (asked.stream) {
    const drafts = draftEvents(answer)
    headers['content-type'] = 'text/event-stream; charset=utf-8'
    texts.push(...drafts.map(({ type, fields }, sequence) => frame({ type, ...fields }, sequence, script)))
    texts.push(frame(terminalEvent(answer, ending), drafts.length, script))
  } else {
    texts.push(JSON.stringify(responseObject(answer, ending)))
    headers['content-length'] = String(Buffer.byteLength(texts[0] ?? ''))
  }
  for (const [name, value] of Object.entries(script.headers ?? {})) headers[name] = typeof value === 'string' ? value : [...value]
  return {
    frames: texts.map(text => text.split(suffix)),
    charged,
    isUsageReported: wire !== undefined,
    ended: status,
    model: answer.model,
    tier: answer.tier,
    headers,
  }
}

/** Sends it under new ids. Throws when the client leaves. */
export async function sendFast(run: Run, made: FastAnswer, suffix: string): Promise<void> {
  const { script, res, line } = run
  if (script.headersAfterMs !== undefined) await pause(run, script.headersAfterMs)
  line.modelServed = made.model
  line.tier = made.tier
  line.responseId = `resp_${suffix}`
  line.status = 200
  res.writeHead(200, { ...made.headers, 'x-request-id': run.requestId })
  const last = made.frames.length - 1
  for (const [n, frame] of made.frames.entries()) {
    const ms = n === 0 ? script.firstEventAfterMs : script.betweenEventsMs
    if (ms !== undefined) {
      if (n === 0) res.flushHeaders()
      await pause(run, ms)
    }
    run.left.throwIfAborted()
    const text = frame.join(suffix)
    if (n === last) {
      endFast(run, made)
      res.end(text)
    } else if (!res.write(text)) await once(res, 'drain', { signal: run.left })
  }
}

/** Of each kind of call, the answer that was made for the first; bounded, so that nobody's model names fill the memory. */
export function openFastAnswers(): { find(script: Script, kind: string, make: () => FastAnswer): FastAnswer } {
  const byScript = new WeakMap<Script, Map<string, FastAnswer>>()
  return {
    find(script, kind, make) {
      let made = byScript.get(script)
      if (made === undefined || made.size > kindsMax) byScript.set(script, (made = new Map()))
      let found = made.get(kind)
      if (found === undefined) made.set(kind, (found = make()))
      return found
    },
  }
}

const kindsMax = 1_000

function endFast(run: Run, made: FastAnswer): void {
  const { line } = run
  run.charge(line, made.charged)
  line.usageReported = made.isUsageReported
  line.ended = made.ended
  line.answered = true
  run.over = true
}
