import { type Command, Option } from 'commander'
import { pathOf } from './client.ts'
import { type Column, cell, type Item, itemsOf, printJson, printLine, printTable } from './io.ts'
import { limitOptions, withLimits } from './subscription.ts'
import { type Asked, type Cli, everything, noun, verb } from './verb.ts'
import { decimal, positiveNumber, time } from './words.ts'

export function codeCommand(program: Command, cli: Cli): void {
  const command = noun(program, 'code', 'Codes that are redeemed for credit or a subscription')
  makeVerb(command, cli)
  listCodes(command, cli)
  redeemVerb(command, cli)
  const example = 'headgate code void 0198c0de-…'
  verb(command, 'void <id>', 'Make a code void: nobody can redeem it any more', example).action(async (id: string, asked: Asked) => {
    const item = await cli.api().send('POST', pathOf('codes', id, 'void'))
    if (asked.json) return printJson(cli.terminal, item)
    printLine(cli.terminal, `The code ${cell(item.hint)} is void.`)
  })
}

/** The only verb that sees codes: they are shown here and kept nowhere. */
function makeVerb(command: Command, cli: Cli): void {
  const make = verb(command, 'make', 'Make codes and show them once', 'headgate code make --usd 5.00 --count 10 --reason "spring course"')
  make
    .addOption(new Option('--usd <usd>', 'the credit it gives').argParser(decimal).conflicts(['group', 'days']))
    .option('--group <name>', 'or the group of which it gives a share')
    .option('--days <days>', 'for how many days', positiveNumber)
  limitOptions(make)
    .option('--count <codes>', 'how many', positiveNumber)
    .option('--expires <time>', 'until when they may be redeemed, such as 2027-01-01', time)
    .requiredOption('--reason <text>', 'why; it stands in the entry for ever')
    .action(async ({ json, usd, expires, ...options }: Item) => {
      const answer = await cli.api().send('POST', pathOf('codes'), { ...withLimits(options), amount: usd, expiresAt: expires })
      if (json) return printJson(cli.terminal, answer)
      const codes = itemsOf(answer.items)
      for (const { code } of codes) printLine(cli.terminal, cell(code))
      const each = codes.length === 1 ? 'It gives' : `Each of these ${codes.length} gives`
      printLine(cli.terminal, `\n${each} ${giftOf(codes[0] ?? {})}, once. Keep what stands here now: it is shown only this once.`)
    })
}

interface ListAsked extends Asked {
  readonly all?: true
}

function listCodes(command: Command, cli: Cli): void {
  verb(command, 'list', 'List the codes that can be redeemed', 'headgate code list --all')
    .option('--all', 'those that were redeemed, are void or have expired, too')
    .action(async ({ json, ...query }: ListAsked) => {
      const page = await cli.api().list(pathOf('codes'), query, everything)
      if (json) return printJson(cli.terminal, page)
      printTable(cli.terminal, columns, page.items, query.all ? 'There is no code yet.' : 'There is no code that can be redeemed.')
    })
}

function redeemVerb(command: Command, cli: Cli): void {
  verb(command, 'redeem <code>', 'Redeem a code for a user', 'headgate code redeem HG-XXXX-XXXX-XXXX-XXXX-XXXX --user dev@example.com')
    .requiredOption('--user <email>', 'who gets what it gives')
    .action(async (code: string, { json, user }: Asked & { readonly user: string }) => {
      const answer = await cli.api().send('POST', pathOf('codes', 'redeem'), { code, user })
      if (json) return printJson(cli.terminal, answer)
      printLine(cli.terminal, sentenceOf(answer, user))
    })
}

function sentenceOf(answer: Item, user: string): string {
  const [code, wallet, subscription] = [answer.code, answer.wallet, answer.subscription] as readonly (Item | null | undefined)[]
  if (wallet) return `Credited ${cell(code?.amount)} USD; the balance of ${user} is ${cell(wallet.balance)} USD.`
  return `${user} has a share of ${cell(subscription?.group)} until ${cell(subscription?.endsAt)}.`
}

function giftOf({ amount, group, days }: Item): string {
  return amount === null ? `a share of ${cell(group)} for ${cell(days)} days` : `${cell(amount)} USD`
}

const columns: readonly Column[] = [
  { title: 'ID', of: code => code.id },
  { title: 'CODE', of: code => code.hint },
  { title: 'GIVES', of: giftOf },
  { title: 'STATE', of: code => code.state },
  { title: 'EXPIRES', of: code => code.expiresAt },
  { title: 'REDEEMED BY', of: code => code.redeemedBy },
  { title: 'AT', of: code => code.redeemedAt },
  { title: 'REASON', of: code => code.reason },
]
