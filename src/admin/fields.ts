import { isIP } from 'node:net'
import { z } from 'zod'
import { NotDecimal, parseDecimal, parseUsd } from '../ledger/money.ts'
import { blockListOf, isPublicAddress } from '../lib/address.ts'

/** An object that names each field it does not have, and says which ones it has. `what` reads as in "a group". */
export function object<Shape extends z.ZodRawShape>(what: string, shape: Shape) {
  const names = Object.keys(shape).join(', ')
  const error = (issue: { readonly code?: string; readonly keys?: unknown }) =>
    issue.code === 'unrecognized_keys' && Array.isArray(issue.keys) ? `${what} has no ${issue.keys.join(', ')}; it has ${names}` : undefined
  return z.strictObject(shape, { error })
}

/** What groups and accounts are called: it stands in paths, command lines and logs. */
export const name = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._-]{0,62}$/,
    'takes 1 to 63 small letters, digits, dots, dashes and underscores, and begins with a letter or digit',
  )

/** Text that a person wrote for persons. */
export const label = z.string().trim().min(1).max(200)

/** An e-mail address; capital letters make no other person. */
export const email = z.email('takes an e-mail address such as dev@example.com').toLowerCase()

/** The name of a model, as clients and upstreams write it. */
export const model = z.string().min(1).max(200)

/** A time as RFC 3339, kept as milliseconds since 1970. */
export const time = z.iso.datetime({ offset: true, error: 'takes a time such as 2026-01-31T12:00:00Z' }).transform(text => Date.parse(text))

/** In a query, "false" is text, and text is true. */
export const flag = z
  .enum(['true', 'false'])
  .default('false')
  .transform(text => text === 'true')

/** Calls at once; 0 or less is no limit. */
export const concurrency = z.int().min(-1).max(1_000_000)

/** Of something in a minute; null is no limit. */
export const perMinute = z.int().min(1).max(1_000_000_000_000).nullable()

/** Milliseconds until the first event of a stream; null is no limit. */
export const firstEventLimitMs = z
  .int()
  .min(1)
  .max(600_000)
  .nullable()
  .describe('After so many milliseconds without the first event of a stream, another account that is free is asked instead.')

const rateMost = 1_000_000
const amountMost = 1_000_000_000
const multiplierMost = 1_000

/** USD per million tokens, or per call of a hosted tool. */
export const rate = decimal(rateMost, parseUsd)

/** An amount of USD. */
export const usd = decimal(amountMost, parseUsd)

/** An amount of USD that is given or, below zero, taken. */
export const signedUsd = decimal(amountMost, parseUsd, -amountMost)

/** What prices are multiplied by. 0 is free. */
export const multiplier = decimal(multiplierMost, parseDecimal)

/** An address or a range of them, as 10.0.0.0/8. */
export const addressRange = z.string().superRefine((text, check) => {
  try {
    blockListOf([text])
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    check.addIssue({ code: 'custom', message: error.message })
  }
})

/** Where an upstream is, without a slash at the end. Whether its address is allowed depends on the account: see `baseUrlProblem`. */
export const baseUrl = z
  .string()
  .max(500)
  .refine(text => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), 'takes a URL such as https://api.openai.com/v1')
  .refine(text => !hasCredentials(text), 'may not have a name or password in it; the key goes into apiKey, where it is encrypted')
  .refine(text => !/[?#]/.test(text), 'may not have a query or a fragment')
  .transform(text => (URL.canParse(text) ? new URL(text).href.replace(/\/+$/, '') : text))

/** An outbound HTTP proxy. */
export const proxy = z
  .string()
  .max(500)
  .refine(
    text => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol),
    'takes the URL of an HTTP proxy such as http://proxy.example.com:3128',
  )
  .refine(text => !hasCredentials(text), 'may not have a name or password in it, because they would be kept unencrypted')

/** Why an account may not be at this URL; undefined when it may. What a name resolves to is checked when it is called. */
export function baseUrlProblem(url: string, allowPrivateAddress: boolean): string | undefined {
  if (allowPrivateAddress || !URL.canParse(url)) return undefined
  const { protocol, hostname } = new URL(url)
  const address = hostname.replace(/^\[|\]$/g, '')
  const isPrivate = isIP(address) === 0 ? /(^|\.)localhost\.?$/.test(address) : !isPublicAddress(address)
  if (isPrivate) return `is at the private address ${address}; set allowPrivateAddress to true if that is meant`
  if (protocol !== 'https:') return 'must begin with https://, or the key would be sent in the clear; allowPrivateAddress allows http://'
  return undefined
}

/**
 * Decimal text from `least`, which is 0, to `most`. A whole number may be written as a number; one with a fraction may not, because a reader of
 * JSON or YAML would have made a float of it before anybody could see what was written.
 */
function decimal(most: number, parse: (text: string) => unknown, least = 0) {
  const error = (issue: { readonly input?: unknown }) => {
    if (issue.input === undefined) return undefined
    return typeof issue.input === 'number' ? `takes decimal text: write "${issue.input}", in quotes` : 'takes decimal text such as "2.50"'
  }
  return z
    .union([z.string(), z.int()], { error })
    .transform(String)
    .superRefine((text, check) => {
      const message = decimalProblem(text, { least, most }, parse)
      if (message !== undefined) check.addIssue({ code: 'custom', message })
    })
}

interface Bounds {
  readonly least: number
  readonly most: number
}

function decimalProblem(text: string, { least, most }: Bounds, parse: (text: string) => unknown): string | undefined {
  try {
    parse(text)
  } catch (error) {
    if (error instanceof NotDecimal) return error.message
    throw error
  }
  if (Number(text) < least || (least === 0 && text.startsWith('-'))) return `is ${text}; it takes ${least} or more`
  return Number(text) > most ? `is ${text}; it takes at most ${most}` : undefined
}

function hasCredentials(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { username, password } = new URL(text)
  return username !== '' || password !== ''
}
