import { createRoute, z } from '@hono/zod-openapi'
import type { User } from '../directory/entities.ts'
import { type Entry, type Posted, walletFull } from '../ledger/entries.ts'
import { formatUsd, parseUsd } from '../ledger/money.ts'
import { newId } from '../lib/id.ts'
import { timeText } from './entities.ts'
import { object, signedUsd, usd } from './fields.ts'
import { userNamed } from './lookup.ts'
import type { AdminParts } from './ports.ts'
import { invalid, Refusal } from './refusal.ts'
import { body, listQuery, ok, pageSchema, refParams, routes } from './routes.ts'
import { author } from './writing.ts'

/** People's money: a balance, what is held of it, and every entry. */
export function walletRoutes(parts: AdminParts) {
  return routes()
    .openapi(show, async context => context.json(await walletView(await userNamed(parts, context.req.valid('param').ref), parts), 200))
    .openapi(credit, async context => {
      const user = await userNamed(parts, context.req.valid('param').ref)
      return context.json(await move('credit', user, context.req.valid('json'), parts), 200)
    })
    .openapi(debit, async context => {
      const user = await userNamed(parts, context.req.valid('param').ref)
      return context.json(await move('debit', user, context.req.valid('json'), parts), 200)
    })
    .openapi(adjust, async context => {
      const user = await userNamed(parts, context.req.valid('param').ref)
      return context.json(await move('adjust', user, context.req.valid('json'), parts), 200)
    })
    .openapi(entries, async context => {
      const { limit, cursor } = context.req.valid('query')
      const { walletId } = await userNamed(parts, context.req.valid('param').ref)
      const page = await parts.ledger.entriesOf(walletId, { limit, cursor: cursor ?? null })
      return context.json({ items: page.entries.map(entryView), next: page.cursor }, 200)
    })
}

export const reason = z.string().trim().min(1).max(500).describe('Why, for whoever reads the bill.')

const causeFields = {
  reason,
  reference: z
    .string()
    .trim()
    .min(1)
    .max(200)
    .optional()
    .describe('What caused it, such as a payment. The same one again has no second effect.'),
}
const moveSchema = object('an entry', { amount: usd, ...causeFields })
const adjustSchema = object('an adjustment', { amount: signedUsd, ...causeFields })

export const walletSchema = z
  .object({ user: z.string(), balance: z.string(), held: z.string(), free: z.string().describe('The balance without what is held.') })
  .openapi('Wallet')

const entrySchema = z
  .object({
    id: z.string(),
    kind: z.enum(['charge', 'credit', 'debit', 'refund', 'redeem', 'adjustment']),
    amount: z.string(),
    reference: z.string(),
    reason: z.string().nullable(),
    author: z.string().nullable(),
    createdAt: z.string(),
  })
  .openapi('Entry')

const tags = ['wallets']
const show = createRoute({
  method: 'get',
  path: '/wallets/{ref}',
  tags,
  request: { params: refParams },
  responses: ok('The wallet.', walletSchema),
})
const credit = createRoute({
  method: 'post',
  path: '/wallets/{ref}/credit',
  tags,
  description: 'Gives a user money.',
  request: { params: refParams, body: body(moveSchema) },
  responses: ok('The wallet as it is now.', walletSchema),
})
const debit = createRoute({
  method: 'post',
  path: '/wallets/{ref}/debit',
  tags,
  description: 'Takes money from a user: at most what is free.',
  request: { params: refParams, body: body(moveSchema) },
  responses: ok('The wallet as it is now.', walletSchema),
})
const adjust = createRoute({
  method: 'post',
  path: '/wallets/{ref}/adjust',
  tags,
  description: 'Corrects a balance: upwards, or, with an amount below zero, downwards by at most what is free.',
  request: { params: refParams, body: body(adjustSchema) },
  responses: ok('The wallet as it is now.', walletSchema),
})
const entries = createRoute({
  method: 'get',
  path: '/wallets/{ref}/entries',
  tags,
  request: { params: refParams, query: listQuery },
  responses: ok('Entries, newest first.', pageSchema(entrySchema)),
})

export async function walletView(user: User, { ledger }: AdminParts): Promise<z.input<typeof walletSchema>> {
  const wallet = await ledger.free(user.walletId)
  if (wallet === undefined) throw new Error(`The user ${user.id} has no wallet.`)
  const { balance, held } = wallet
  return { user: user.email, balance: formatUsd(balance), held: formatUsd(held), free: formatUsd(balance - held) }
}

type Direction = 'credit' | 'debit' | 'adjust'

/** In a sentence. */
const words: Readonly<Record<Direction, { readonly noun: string; readonly did: string }>> = {
  credit: { noun: 'credit', did: 'credited' },
  debit: { noun: 'debit', did: 'debited' },
  adjust: { noun: 'adjustment', did: 'adjusted by' },
}

async function move(direction: Direction, user: User, said: z.output<typeof moveSchema>, parts: AdminParts) {
  const amount = parseUsd(said.amount)
  if (direction === 'adjust' && amount === 0n)
    throw invalid([{ path: ['amount'], message: 'amount is 0; an adjustment changes something.' }])
  if (direction !== 'adjust' && amount <= 0n)
    throw invalid([{ path: ['amount'], message: `amount is ${said.amount}; a ${direction} takes more than 0.` }])
  const reference = said.reference ?? `admin:${newId(parts.clock.nowMs())}`
  const posted = await parts.ledger[direction]({ walletId: user.walletId, amount, reference, reason: said.reason, author })
  if ('refused' in posted) throw await refusalOf(posted.refused, { direction, user, reference }, parts)
  parts.log.wrote({ who: author, what: `${words[direction].did} ${formatUsd(amount)} USD`, target: `user ${user.email}` })
  return walletView(user, parts)
}

interface Move {
  readonly direction: Direction
  readonly user: User
  readonly reference: string
}

async function refusalOf(why: Extract<Posted, { refused: string }>['refused'], move: Move, parts: AdminParts): Promise<Refusal> {
  const { direction, user, reference } = move
  if (why === 'reference_used')
    return new Refusal(
      409,
      'reference_used',
      `There is ${direction === 'adjust' ? 'an' : 'a'} ${words[direction].noun} with the reference ${JSON.stringify(reference)} already, of another amount or user.`,
    )
  if (why === 'full') return new Refusal(409, 'full', walletFull)
  const { free, held } = await walletView(user, parts)
  return new Refusal(
    409,
    'short',
    `Only ${free} USD of ${user.email} is free (${held} USD is held for calls that run); ${direction === 'adjust' ? 'an adjustment' : 'a debit'} takes no more than that.`,
  )
}

function entryView(entry: Entry): z.input<typeof entrySchema> {
  const { id, kind, amount, reference, reason, author: by, createdAtMs } = entry
  return { id, kind, amount: formatUsd(amount), reference, reason, author: by, createdAt: timeText(createdAtMs) }
}
