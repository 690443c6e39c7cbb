import { expect, test } from 'vitest'
import { openLog } from '../../src/lib/log.ts'
import { randomFrom, seedsFrom } from '../chance.ts'
import { send } from '../client.ts'
import { inParallel, openWorld, type World } from '../world.ts'
import { type Told, tellGateway } from './answers.ts'
import { type Generated, requestFrom } from './requests.ts'

/**
 * Whatever is sent to a path of the data plane, the gateway answers, soon, and never with a fault of its own. 5xx is said
 * where it is documented to be: nobody serves the model. Each request is made of its seed and its number alone.
 */
const count = process.env.HEADGATE_TEST_FULL === undefined ? 2_000 : 20_000
const atOnce = 24
const timeoutMs = 900_000

test.for(seedsFrom(7, 1))(
  `${count} generated requests: no 5xx of ours, every refusal in OpenAI’s shape, never a hang (HEADGATE_TEST_SEED=%i)`,
  { timeout: timeoutMs },
  async seed => {
    const mistakes: string[] = []
    await using world = await opened(mistakes)
    const counts = new Map<string, number>()
    const wrong: string[] = []
    await inParallel(count, atOnce, async number => {
      const made = requestFrom(randomFrom(seed * 1_000_003 + number), world.key)
      const told = await tellGateway(world.url, made).catch((error: Error) => error)
      const kind = told instanceof Error ? told.message : kindOf(told)
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
      const why = told instanceof Error ? told.message : whyWrong(made, told)
      if (why !== undefined) wrong.push(`request ${number}: ${why}: ${show(made)} → ${told instanceof Error ? '' : showTold(told)}`)
    })
    console.log(
      `seed ${seed}: ${count} requests: ${[...counts]
        .sort()
        .map(([kind, times]) => `${times} × ${kind}`)
        .join(', ')}`,
    )
    expect(wrong.slice(0, 20)).toEqual([])
    expect(mistakes).toEqual([])

    expect(await send(world)).toMatchObject({ status: 200 })
    await world.quiet()
    expect(world.sim.attempts.length).toBeGreaterThan(count / 20)
  },
)

/** What pauses, or never comes, is given up soon; whoever asks has money, no line to stand in, and no brake for being refused. */
function opened(mistakes: string[]): Promise<World> {
  return openWorld({
    accounts: [{ concurrency: 0, models: { sim: 'sim', fast: 'sim', costless: 'nobody-prices-this' } }],
    user: { concurrency: 0 },
    balance: '1000000',
    settings: { refusalsPerMinute: 0, bodyBytesMax: 1_048_576, bodyIdleTimeoutMs: 1_000, headersTimeoutMs: 2_000 },
    log: openLog('error', { write: line => void mistakes.push(line) }),
  })
}

function kindOf({ status, body }: Told): string {
  return status >= 500 ? `${status} ${String(errorIn(body)?.message).replace(/:.*/, '')}` : String(status)
}

function whyWrong(made: Generated, { status, headers, body }: Told): string | undefined {
  const { method, raw } = made
  // A connection that said nothing readable, or was closed by its own client, may be closed without a word.
  if (status === 0) return raw === undefined && !isLongHead(made) ? 'no answer' : undefined
  if (status < 400) return undefined
  if (status >= 500 && !isUnserved(status, headers, body, method)) return 'a fault of ours'
  if (!/^[0-9a-f-]{36}$/.test(String(headers['x-request-id']))) return 'no x-request-id'
  if (isHead(made)) return undefined
  return isOpenAIError(body) ? undefined : 'not OpenAI’s shape'
}

function isHead({ method, raw }: Generated): boolean {
  return raw === undefined ? method === 'HEAD' : raw.subarray(0, 5).toString() === 'HEAD '
}

/** Headers too long to be read say nothing of the method, so a HEAD is refused with a body, which its client cannot make sense of. */
function isLongHead({ method, headers }: Generated): boolean {
  return method === 'HEAD' && JSON.stringify(headers).length > headerBytesMax
}

const headerBytesMax = 32 * 1024

/** The 503 of SPEC 1.2: the key's groups have no account that lists the model. No later try can help. */
function isUnserved(status: number, headers: Told['headers'], body: string, method: string): boolean {
  const isSaid =
    method === 'HEAD' || /^No available accounts: no account of group default lists the model /.test(String(errorIn(body)?.message))
  return status === 503 && headers['x-should-retry'] === 'false' && isSaid
}

function isOpenAIError(body: string): boolean {
  const error = errorIn(body)
  const isTextOrNull = (value: unknown) => value === null || typeof value === 'string'
  return (
    error !== undefined &&
    typeof error.message === 'string' &&
    typeof error.type === 'string' &&
    isTextOrNull(error.code) &&
    isTextOrNull(error.param) &&
    Object.keys(error).length === 4
  )
}

function errorIn(body: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const { error, ...more } = JSON.parse(body)
    return Object.keys(more).length === 0 ? error : undefined
  } catch {
    return undefined // Not JSON: the test says so.
  }
}

function show({ method, path, headers, body, raw }: Generated): string {
  if (raw !== undefined) return JSON.stringify(raw.toString('latin1').slice(0, 300))
  return `${method} ${path.slice(0, 80)} ${JSON.stringify(headers).slice(0, 300)} ${JSON.stringify(body.toString('latin1').slice(0, 200))}`
}

function showTold({ status, headers, body }: Told): string {
  return `${status} ${JSON.stringify(headers).slice(0, 200)} ${body.slice(0, 200)}`
}
