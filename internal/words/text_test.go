package words

import "testing"

func TestTextIsTheSameInEveryMedium(t *testing.T) {
	text := Say("gate ", bad("closed"), Say(" for ", "5s"), warn(""))
	if len(text) != 3 || text.String() != "gate closed for 5s" {
		t.Errorf("%q", text)
	}
	if got := text.Paint(func(tone Tone, s string) string { return "<" + string(tone) + ">" + s }); got != "gate <bad>closed for 5s" {
		t.Errorf("painted: %q", got)
	}
	if Say("x", good("y"), warn("z")).Worst() != Warn || Say("x").Worst() != Plain {
		t.Error("the gravest tone is not found")
	}
}

func TestLinesHaveColumns(t *testing.T) {
	lines := []Line{
		named("app", "a"), whole(), {Label: "index 3"}, below("instance", "i"), below("", "more"),
		{Indent: 1, Label: "wait", LabelTone: Warn, Text: Say("x")}, whole("desired state read"),
	}
	want := "app       a\n\nindex 3\n  instance  i\n            more\n  [wait     ] x\ndesired state read\n"
	if got := Print(lines, func(_ Tone, s string) string { return "[" + s + "]" }); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}
