import type { Command } from 'commander'
import { pathOf } from './client.ts'
import { cell, type Item, printJson, printLine, printTable } from './io.ts'
import { type Asked, type Cli, everything, type Fields, type Kind, noun, removeVerb, setVerb, showVerb, switchVerbs, verb } from './verb.ts'
import { collect, timeOrNone, wholeNumberOrNone } from './words.ts'

export function keyCommand(program: Command, cli: Cli): void {
  const command = noun(program, 'key', 'What people present to the gateway')
  const kind: Kind = { cli, command, path: 'keys', word: 'key', argument: '<id>', sample: '0198c0de-…', columns }
  addKeyVerb(kind)
  listKeysVerb(kind)
  showVerb(kind)
  setVerb(kind, fields)
  switchVerbs(kind)
  removeVerb(kind)
}

const columns: Kind['columns'] = [
  { title: 'ID', of: key => key.id },
  { title: 'USER', of: key => key.user },
  { title: 'NAME', of: key => key.name },
  { title: 'KEY', of: key => key.hint },
  { title: 'GROUPS', of: key => key.groups },
  { title: 'EXPIRES', of: key => key.expiresAt },
  { title: 'DISABLED', of: key => key.disabled },
]

function listKeysVerb({ cli, command }: Kind): void {
  verb(command, 'list', 'List every key', 'headgate key list --user dev@example.com')
    .option('--user <email>', 'of one user only')
    .action(async ({ json, user }: Asked & { readonly user?: string }) => {
      const page = await cli.api().list(pathOf('keys'), { user }, everything)
      if (json) return printJson(cli.terminal, page)
      printTable(cli.terminal, columns, page.items, 'There is no key yet.')
    })
}

/** The only verb that sees the key's secret: it is shown here and kept nowhere. */
function addKeyVerb({ cli, command }: Kind): void {
  const example = 'headgate key add --user dev@example.com --group default --name laptop'
  const add = verb(command, 'add', 'Make a key and show it once', example)
  add
    .requiredOption('--user <email>', 'whose it is')
    .requiredOption('--name <name>', 'what its owner calls it')
    .requiredOption('--group <name>', groupAbout, collect)
  keyOptions(add)
  add.action(async ({ json, ...options }: Item) => {
    const item = await cli.api().send('POST', pathOf('keys'), bodyOf(options))
    if (json) return printJson(cli.terminal, item)
    printLine(cli.terminal, `${cell(item.key)}\n`)
    printLine(cli.terminal, `This is the key "${cell(options.name)}" of ${cell(options.user)}. Keep it now: it is shown only this once.`)
  })
}

const fields: Fields = {
  addExample: '',
  setExample: 'headgate key set 0198c0de-… --concurrency 2',
  options(command) {
    command.option('--name <name>', 'another name').option('--group <name>', groupAbout, collect)
    keyOptions(command)
  },
  body: bodyOf,
}

const groupAbout = 'a group whose accounts it may use; may be given several times, in the order to try'

function keyOptions(command: Command): void {
  command
    .option('--concurrency <calls>', 'calls at once, or none', wholeNumberOrNone)
    .option('--requests-per-minute <requests>', 'or none', wholeNumberOrNone)
    .option('--tokens-per-minute <tokens>', 'or none', wholeNumberOrNone)
    .option('--allow-address <range>', 'an address or range it may come from; may be given several times', collect)
    .option('--deny-address <range>', 'an address or range it may not come from; may be given several times', collect)
    .option('--expires-at <time>', 'when it ends, such as 2027-01-01, or none', timeOrNone)
}

function bodyOf({ group, allowAddress, denyAddress, ...body }: Item): Item {
  return {
    ...body,
    ...(group !== undefined && { groups: group }),
    ...(allowAddress !== undefined && { allowAddresses: allowAddress }),
    ...(denyAddress !== undefined && { denyAddresses: denyAddress }),
  }
}
