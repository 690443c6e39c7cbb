import type { Account } from '../directory/entities.ts'
import { responses } from '../protocols/openai-responses.ts'
import { upstreamModel } from './account.ts'
import { Attempt, type AttemptParts, type Beginning } from './attempt.ts'
import type { Outbound } from './egress.ts'
import { endpointOf } from './endpoint.ts'
import { attemptFaults } from './verdict.ts'

/** What one small call to an account showed. The message is for a person, and never has the credential in it. */
export interface AccountTested {
  readonly ok: boolean
  readonly status: number | null
  /** The upstream's name of the model that was asked; null when only its list of models was. */
  readonly model: string | null
  readonly message: string
  readonly durationMs: number
}

/** OpenAI refuses fewer output tokens than this. */
const outputTokens = 16

/**
 * Makes a real call: a few tokens of the model that is named, else of the first in the account's table. Where neither names one,
 * the upstream is asked for its list of models, which shows the address and the credential.
 */
export async function testAccount(account: Account, model: string | undefined, parts: AttemptParts): Promise<AccountTested> {
  const asked = model === undefined ? Object.values(account.models)[0] : (upstreamModel(account, model) ?? model)
  const startedMs = parts.clock.elapsedMs()
  const beginning = await new Attempt(outboundOf(account, asked), { protocol: responses, streams: false }, parts).beginning
  const durationMs = Math.round(parts.clock.elapsedMs() - startedMs)
  return { ...read(beginning, asked !== undefined), model: asked ?? null, durationMs }
}

function outboundOf(account: Account, model: string | undefined): Outbound {
  const { origin, path } = endpointOf(account.baseUrl)
  const credential: Record<string, string> =
    account.capabilities.auth === 'api-key' ? { 'api-key': account.apiKey } : { authorization: `Bearer ${account.apiKey}` }
  const headers = { ...credential, accept: 'application/json', 'accept-encoding': 'identity' }
  if (model === undefined) return { origin, path: `${path}/models`, method: 'GET', headers, body: [], route: account }
  const body = JSON.stringify({ model, input: 'Say yes.', max_output_tokens: outputTokens, store: false })
  return {
    origin,
    path: `${path}/responses`,
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: [Buffer.from(body)],
    route: account,
  }
}

const shownBytes = 300

function read(beginning: Beginning, isCall: boolean): Pick<AccountTested, 'ok' | 'status' | 'message'> {
  switch (beginning.kind) {
    case 'fault': {
      const { name, status } = beginning.fault
      return { ok: false, status, message: `${attemptFaults[name].means}${reasonOf(beginning.cause)}.` }
    }
    case 'refusal':
      return {
        ok: false,
        status: beginning.status,
        message: `It answered ${beginning.status}: ${beginning.body.toString().slice(0, shownBytes)}`,
      }
    default:
      return {
        ok: true,
        status: beginning.status,
        message: isCall ? 'It answers.' : 'It lists its models. Name one to make a real call: --model.',
      }
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error && cause.message !== '' ? `: ${cause.message}` : ''
}
