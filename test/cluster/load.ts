import { openStream, send, type Target } from '../client.ts'
import type { Person } from './cluster.ts'

/** One call as its client saw it. Times are milliseconds by `performance.now()`. */
export interface Heard {
  readonly kind: 'json' | 'stream'
  readonly startedMs: number
  readonly endedMs: number
  /**
   * `served`: whole, and 200. `failed`: a stream that ended with `response.failed`. `broken`: the connection ended before the answer did,
   * or nginx had nobody to ask. Else a refusal, by its status and code.
   */
  readonly outcome: string
  /** The call's, when a gateway said one. */
  readonly id: string | undefined
  /** The upstream's, of what was served. */
  readonly responseId: string | undefined
}

export interface Load extends AsyncDisposable {
  readonly heard: readonly Heard[]
  /** Resolves when calls have been offered for so long. */
  during(seconds: number): Promise<void>
  /** No new ones. Resolves when the last has ended. */
  stop(): Promise<void>
}

export interface Offered {
  /** Calls a second, whatever becomes of those before: nobody waits for an answer to ask again. */
  readonly perSecond: number
  /** One call in so many is a stream. */
  readonly streamEvery: number
}

/** Calls of several people through one address, each on a connection of its own, at a steady rate. */
export function offer(url: string, people: readonly Person[], { perSecond, streamEvery }: Offered): Load {
  const heard: Heard[] = []
  const running = new Set<Promise<void>>()
  let asked = 0
  const timer = setInterval(() => {
    const target = { url, key: people[asked % people.length]!.key }
    const work = asked % streamEvery === 0 ? oneStream : oneJson
    asked += 1
    const startedMs = performance.now()
    const call = work(target).then(end => {
      heard.push({ kind: work === oneStream ? 'stream' : 'json', startedMs, endedMs: performance.now(), ...end })
      running.delete(call)
    })
    running.add(call)
  }, 1_000 / perSecond)
  const stop = async () => {
    clearInterval(timer)
    while (running.size > 0) await Promise.all(running)
  }
  // An outage lasts by the clock, also on a machine that is too busy to ask as often as it should.
  const during = (seconds: number) => new Promise<void>(resolve => void setTimeout(resolve, seconds * 1_000))
  return { heard, during, stop, [Symbol.asyncDispose]: stop }
}

type End = Pick<Heard, 'outcome' | 'id' | 'responseId'>

async function oneJson(target: Target): Promise<End> {
  const { status, ending, headers, json, error } = await send(target)
  const id = headers['x-request-id']
  if (ending === 'broken') return ended('broken', id)
  return status === 200 ? ended('served', id, json['id']) : ended(refusal(status, headers, error['code'] ?? error['type']), id)
}

/** Never rejects. */
async function oneStream(target: Target): Promise<End> {
  await using open = openStream(target)
  let id: string | string[] | undefined
  try {
    const { status, headers } = await open.begun
    id = headers['x-request-id']
    const events = await open.rest()
    const last = events.at(-1)
    if (last?.type === 'response.completed') return ended('served', id, last.response['id'])
    if (last?.type === 'response.failed') return ended('failed', id)
    const error = JSON.parse(open.text.startsWith('{') ? open.text : '{}') as { error?: { code?: unknown; type?: unknown } }
    return status === 200 ? ended('broken', id) : ended(refusal(status, headers, error.error?.code ?? error.error?.type), id)
  } catch {
    return ended('broken', id)
  }
}

function ended(outcome: string, id: string | string[] | undefined, responseId?: unknown): End {
  return { outcome, id: id === undefined ? undefined : String(id), responseId: responseId === undefined ? undefined : String(responseId) }
}

/** Of nginx's own pages none has a call id. */
function refusal(status: number, headers: Readonly<Record<string, unknown>>, what: unknown): string {
  if (headers['x-request-id'] === undefined) return 'broken'
  const isPromised = status !== 503 || headers['retry-after'] !== undefined
  return `${status} ${String(what)}${isPromised ? '' : ' without Retry-After'}`
}
