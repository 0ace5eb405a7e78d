import { styleText } from "node:util";

export type Colour = "green" | "red" | "yellow" | "bold" | "dim";

/** Puts a text in a colour, or leaves it as it is. */
export type Paint = (colour: Colour, text: string) => string;

export const plain: Paint = (_, text) => text;

export const coloured: Paint = (colour, text) => styleText(colour, text, { validateStream: false });
