import type { Account } from '../directory/entities.ts'
import type { Principal } from '../directory/snapshot.ts'
import { Fault } from '../lib/fault.ts'
import { type Candidate, readinessOf, whyNot } from '../upstreams/account.ts'
import { aged } from '../upstreams/rest.ts'
import { leastLoaded } from '../upstreams/select.ts'
import { type AttemptFault, attemptFaults } from '../upstreams/verdict.ts'
import { askKept, bodyIfAny, type KeptAnswer, type KeptAsking, type KeptQuestion, keptFault } from './ask-kept.ts'
import { authenticate } from './authenticate.ts'
import { orBooksAway } from './books-away.ts'
import type { Client } from './client.ts'
import { unavailable } from './forward.ts'
import type { Gateway } from './gateway.ts'
import { refuse } from './handle.ts'
import { accountFor, accountReferredTo, answerKept, queryOf, spendRequest } from './kept.ts'
import { newReceipt } from './receipt.ts'

/**
 * `POST /v1/conversations`. It is made at an account of the key's groups that keeps things, and belongs to the caller before they hear
 * its id. It costs nothing. Never rejects.
 */
export async function createConversation(client: Client, path: string, gateway: Gateway): Promise<void> {
  const receipt = newReceipt(client, path, gateway.clock)
  const asking: KeptAsking = { client, receipt, gateway }
  try {
    const principal = await authenticate(client, receipt, gateway)
    gateway.brake.check(principal.key.id)
    await spendRequest(principal, gateway)
    using _ = gateway.keptAtOnce.enter(principal.user.id)
    using body = await bodyIfAny(client, gateway)
    const question = { method: 'POST', path: `/conversations${queryOf(client)}`, body: body?.bytes, streams: false } as const
    const accountId = await accountReferredTo(body, principal, gateway)
    const { account, answer } =
      accountId === undefined
        ? await askSomebody(question, principal, asking)
        : await askOne(question, accountFor({ accountId }, principal, gateway), asking)
    receipt.accountId = account.id
    const { beginning } = answer
    if (beginning.kind === 'json' && beginning.facts.responseId !== null) {
      const owner = { id: beginning.facts.responseId, kind: 'conversation', userId: principal.user.id, accountId: account.id }
      const contextTokens = Math.ceil((body?.bytes.length ?? 0) / bytesPerTokenMin)
      await orBooksAway(() => gateway.owners.keep({ ...owner, contextTokens, atMs: gateway.clock.nowMs() }), gateway)
    }
    answerKept(answer, null, asking)
  } catch (error) {
    refuse(Fault.from(error), { client, receipt, gateway })
  }
  await client.over
}

/** Of what it begins with: the estimate must never be below the truth. */
const bytesPerTokenMin = 2

interface Asked {
  readonly account: Account
  readonly answer: KeptAnswer
}

/** Who has what it is to begin with. */
async function askOne(question: Omit<KeptQuestion, 'account'>, account: Account, asking: KeptAsking): Promise<Asked> {
  const answer = await askKept({ ...question, account }, asking)
  if ('fault' in answer) throw await keptFault(answer.fault, account, asking.gateway)
  return { account, answer }
}

/** One account after another, as for a call: nothing has been made yet. */
async function askSomebody(question: Omit<KeptQuestion, 'account'>, principal: Principal, asking: KeptAsking): Promise<Asked> {
  const { gateway } = asking
  const tried = new Set<string>()
  let last: { readonly fault: AttemptFault; readonly account: Account } | undefined
  for (let tries = 0; tries <= gateway.settings.switchesMax; tries += 1) {
    const account = await choose(principal, tried, gateway)
    if (account instanceof Fault) {
      if (last === undefined) throw account
      break
    }
    tried.add(account.id)
    const answer = await askKept({ ...question, account }, asking)
    if (!('fault' in answer)) return { account, answer }
    last = { fault: answer.fault, account }
    if (!attemptFaults[answer.fault.name].elsewhere) break
  }
  throw await keptFault(last!.fault, last!.account, gateway)
}

/** The first of the key's groups in which one may be asked. A full one may, because no slot is taken. */
async function choose({ groups }: Principal, tried: ReadonlySet<string>, gateway: Gateway): Promise<Account | Fault> {
  const { directory, coordinator, clock, chance, settings } = gateway
  const nowMs = clock.nowMs()
  const all: Candidate[] = []
  for (const { id } of groups) {
    const accounts = directory.snapshot().accountsOf(id).filter(keeps)
    const conditions = await coordinator.conditions(accounts.map(account => account.id))
    const candidates = accounts.map((account, i) => ({
      account,
      model: '',
      condition: aged(conditions[i]!, nowMs, settings.recordHalfLifeMs),
    }))
    const best = leastLoaded(
      candidates.filter(one => !tried.has(one.account.id) && isWell(one, nowMs)),
      chance,
    )
    if (best !== undefined) return best.account
    all.push(...candidates)
  }
  return unavailable(all.length === 0 ? 'no account of the groups of this key keeps conversations' : whyNot(all, nowMs), undefined)
}

function keeps({ capabilities }: Account): boolean {
  return capabilities.stateful && capabilities.responses
}

function isWell(candidate: Candidate, nowMs: number): boolean {
  return ['free', 'full'].includes(readinessOf(candidate, nowMs))
}
