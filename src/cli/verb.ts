import type { Command } from 'commander'
import type { Config } from '../config.ts'
import { type Api, pathOf } from './client.ts'
import { type Column, type Item, printItem, printJson, printLine, printTable, type Terminal, wrong } from './io.ts'

/** What every command works with. Settings are read, and the gateway is asked, only when a command needs them. */
export interface Cli {
  readonly terminal: Terminal
  config(): Config
  api(): Api
}

/** The options that every verb has. */
export interface Asked {
  readonly json?: true
}

/** A command with an example; `usage` is its name and arguments, as in "credit <user> <usd>". */
export function verb(parent: Command, usage: string, about: string, example: string): Command {
  const command = parent.command(usage).description(about).option('--json', 'print JSON, for programs')
  command.addHelpText('after', `\nExample:\n  ${example}`)
  examples.set(command, example)
  return command
}

/** A command that only holds verbs. */
export function noun(parent: Command, name: string, about: string): Command {
  return parent.command(name).description(about).helpCommand(false)
}

/** How the command is used rightly, for whoever used it wrongly. */
export function exampleOf(command: Command): string | undefined {
  return examples.get(command)
}

/** A kind of thing that the gateway keeps a list of. */
export interface Kind {
  readonly cli: Cli
  readonly command: Command
  /** The first segment of its path: "accounts". */
  readonly path: string
  /** In a sentence: "account". */
  readonly word: string
  /** How one is named on a command line, which is also the field of its name: "<name>". */
  readonly argument: string
  /** One that might exist, for the examples. */
  readonly sample: string
  readonly columns: readonly Column[]
}

/** The options that add and change one, and what they make of the body that is sent. */
export interface Fields {
  readonly options: (command: Command, isNew: boolean) => void
  readonly body?: (options: Item) => Item | Promise<Item>
  readonly addExample: string
  readonly setExample: string
}

export function addVerb({ cli, command, path, word, argument }: Kind, fields: Fields): void {
  const add = verb(command, `add ${argument}`, `Add ${article(word)}`, fields.addExample)
  fields.options(add, true)
  add.action(async (name: string, { json, ...options }: Item) => {
    const body = await (fields.body?.(options) ?? options)
    const item = await cli.api().send('POST', pathOf(path), { [argument.slice(1, -1)]: name, ...body })
    if (json) return printJson(cli.terminal, item)
    printLine(cli.terminal, `The ${word} ${name} is added.`)
  })
}

export function setVerb({ cli, command, path, word, argument }: Kind, fields: Fields): void {
  const set = verb(command, `set ${argument}`, `Change ${article(word)}`, fields.setExample)
  fields.options(set, false)
  set.action(async (name: string, { json, ...options }: Item) => {
    if (Object.keys(options).length === 0) throw wrong(`There is nothing to change; as in: ${fields.setExample}`)
    const body = await (fields.body?.(options) ?? options)
    const item = await cli.api().send('PATCH', pathOf(path, name), body)
    if (json) return printJson(cli.terminal, item)
    printLine(cli.terminal, `The ${word} ${name} is changed.`)
    printItem(cli.terminal, item)
  })
}

export function listVerb({ cli, command, path, word, columns }: Kind): void {
  verb(command, 'list', `List every ${word}`, `headgate ${command.name()} list`).action(async (asked: Asked) => {
    const page = await cli.api().list(pathOf(path), {}, everything)
    if (asked.json) return printJson(cli.terminal, page)
    printTable(cli.terminal, columns, page.items, `There is no ${word} yet.`)
  })
}

export function showVerb({ cli, command, path, word, argument, sample }: Kind): void {
  const example = `headgate ${command.name()} show ${sample}`
  verb(command, `show ${argument}`, `Show ${article(word)}`, example).action(async (name: string, asked: Asked) => {
    printResult(cli, asked, await cli.api().get(pathOf(path, name)))
  })
}

export function removeVerb({ cli, command, path, word, argument, sample }: Kind): void {
  const example = `headgate ${command.name()} remove ${sample}`
  verb(command, `remove ${argument}`, `Remove ${article(word)}`, example).action(async (name: string, asked: Asked) => {
    const answer = await cli.api().send('DELETE', pathOf(path, name))
    if (asked.json) return printJson(cli.terminal, answer)
    printLine(cli.terminal, `The ${word} ${name} is removed.`)
  })
}

/** `disable` and `enable`: a change of one field, but what one looks for in a hurry. */
export function switchVerbs({ cli, command, path, word, argument, sample }: Kind): void {
  for (const name of ['disable', 'enable']) {
    const example = `headgate ${command.name()} ${name} ${sample}`
    const about = `${name === 'disable' ? 'Disable' : 'Enable'} ${article(word)}`
    verb(command, `${name} ${argument}`, about, example).action(async (which: string, asked: Asked) => {
      const item = await cli.api().send('PATCH', pathOf(path, which), { disabled: name === 'disable' })
      if (asked.json) return printJson(cli.terminal, item)
      printLine(cli.terminal, `The ${word} ${which} is ${name}d.`)
    })
  }
}

/** Prints one thing in full, for people or for programs. */
export function printResult({ terminal }: Cli, { json }: Asked, item: Item): void {
  if (json) printJson(terminal, item)
  else printItem(terminal, item)
}

/** All there are; more than any operator reads. */
export const everything = 100_000

function article(word: string): string {
  return /^[aeio]/.test(word) ? `an ${word}` : `a ${word}`
}

const examples = new WeakMap<Command, string>()
