import type { Account } from '../directory/entities.ts'
import type { Owner } from '../directory/owners.ts'
import type { Principal } from '../directory/snapshot.ts'
import { Fault } from '../lib/fault.ts'
import { conversation } from '../protocols/openai-conversation.ts'
import { renameModelInBody } from '../protocols/openai-events.ts'
import { spend } from './admit.ts'
import { askKept, bodyIfAny, type KeptAnswer, type KeptAsking, keptFault } from './ask-kept.ts'
import { authenticate } from './authenticate.ts'
import { beside } from './beside.ts'
import { goneAccount, lookUp } from './bind.ts'
import type { Body } from './body.ts'
import { orBooksAway } from './books-away.ts'
import type { Client } from './client.ts'
import type { Gateway } from './gateway.ts'
import { refuse } from './handle.ts'
import { relayKeptEvents } from './kept-events.ts'
import { type KeptPath, readKeptPath } from './kept-path.ts'
import { metersOfCaller } from './meters.ts'
import { newReceipt } from './receipt.ts'
import { answerHeaders } from './request-headers.ts'
import { rowOf, tell } from './row.ts'

/**
 * Whatever is asked of a response or a conversation by its id, the upstream that keeps it answers; of one that is not the caller's, we
 * do. Never billed, so it takes no slot and stands in no line; it has a row, because every request of a known key has one. Never rejects.
 */
export async function tellKept(client: Client, path: string, gateway: Gateway): Promise<void> {
  const receipt = newReceipt(client, path, gateway.clock)
  const asking: KeptAsking = { client, receipt, gateway }
  try {
    const principal = await authenticate(client, receipt, gateway)
    gateway.brake.check(principal.key.id)
    const asked = readKeptPath(path)
    await spendRequest(principal, gateway)
    using _ = gateway.keptAtOnce.enter(principal.user.id)
    const owner = await ownerFor(asked, principal, gateway)
    receipt.accountId = owner.accountId
    const account = accountFor(owner, principal, gateway)
    using body = await bodyIfAny(client, gateway)
    if (asked.kind === 'conversation') await mustBeAt(owner.accountId, body, principal, gateway)
    const query = queryOf(client)
    const method = client.request.method as 'GET' | 'POST' | 'DELETE'
    const streams = method === 'GET' && asked.kind === 'response' && new URLSearchParams(query).get('stream') === 'true'
    if (method === 'DELETE' && asked.kind === 'response') await gateway.background.beforeDelete(asked.id)
    const answer = await askKept({ account, method, path: `${asked.path}${query}`, body: body?.bytes, streams }, asking)
    if ('fault' in answer) throw await keptFault(answer.fault, account, gateway)
    if (asked.kind === 'conversation' && method === 'POST' && answer.beginning.status < 300)
      await lengthen(asked, body?.bytes.length ?? 0, gateway)
    if (answer.beginning.kind === 'json') await gateway.background.heard(answer.beginning.facts)
    if (answer.beginning.kind === 'stream') await relayKeptEvents(answer, owner.model, asking)
    else answerKept(answer, owner.model, asking)
  } catch (error) {
    refuse(Fault.from(error), { client, receipt, gateway })
  }
  await client.over
}

/** Counts like any request of theirs, so that a client which asks in a loop is slowed. It uses no tokens. */
export async function spendRequest(principal: Principal, gateway: Gateway): Promise<void> {
  const ofEach = metersOfCaller(principal, 0)
  await spend(
    ofEach.filter(({ name }) => name.endsWith(':requests')),
    gateway,
  )
}

/** A whole answer leaves as the upstream gave it, and its row is written a little later. */
export function answerKept({ beginning }: KeptAnswer, model: string | null, { client, receipt, gateway }: KeptAsking): void {
  if (beginning.kind === 'stream') throw new Error('a stream is no whole answer')
  const { kind, status, headers, body } = beginning
  client.answer(status, answerHeaders(headers), kind === 'json' && model !== null ? renameModelInBody(body, model) : body)
  if (kind === 'json' && receipt.principal !== undefined) gateway.brake.served(receipt.principal.key.id)
  const row = rowOf(receipt, { status, ended: kind === 'json' ? 'completed' : 'refused', fault: null }, gateway)
  tell(row, receipt.principal?.user.email, gateway)
  gateway.recorder.refused(row, receipt.attempts)
}

/** With its question mark, or empty. */
export function queryOf({ request: { url = '' } }: Client): string {
  const at = url.indexOf('?')
  return at === -1 ? '' : url.slice(at)
}

/** Somebody else's is answered exactly as one that nobody has: with the same words, after the same one look-up. */
async function ownerFor({ kind, id }: KeptPath, { user }: Principal, gateway: Gateway): Promise<Owner> {
  const owner = await orBooksAway(() => gateway.owners.ownerOf(id), gateway)
  if (owner?.userId === user.id && owner.kind === kind) return owner
  throw new Fault(kind === 'response' ? 'response_unknown' : 'conversation_unknown', { values: { id } })
}

/** A resting account is asked all the same, because it alone has it; not one that serves this key no longer. */
export function accountFor({ accountId }: Pick<Owner, 'accountId'>, { groups }: Principal, { directory }: Gateway): Account {
  const account = directory.snapshot().accounts.get(accountId)
  const serves = account !== undefined && !account.disabled && groups.some(({ id }) => account.groupIds.includes(id))
  if (!serves) throw goneAccount()
  return account
}

/** The account that alone has what a conversation is given by its id; undefined when all of it is sent. Owners as for any call. */
export async function accountReferredTo(body: Body | undefined, principal: Principal, gateway: Gateway): Promise<string | undefined> {
  if (body === undefined) return undefined
  const reading = await gateway.reader.read(body.bytes, conversation)
  if ('fault' in reading) throw new Fault(reading.fault)
  return (await lookUp(reading.facts, principal, gateway)).accountId
}

async function mustBeAt(accountId: string, body: Body | undefined, principal: Principal, gateway: Gateway): Promise<void> {
  const there = await accountReferredTo(body, principal, gateway)
  if (there !== undefined && there !== accountId) throw new Fault('context_split')
}

/** What was added to a conversation is a part of the next call's input: two bytes of text to a token, as everywhere before a bill. */
async function lengthen({ id }: KeptPath, bytes: number, { owners, log }: Gateway): Promise<void> {
  if (bytes > 0) await beside('noting the length of a conversation', log, () => owners.lengthen(id, Math.ceil(bytes / 2)))
}
