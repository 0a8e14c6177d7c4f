package api

// ListField is a field of a list: a filter can ask for it.
type ListField struct {
	Name     string
	About    string   // for people
	Words    []string // the values that there are; empty: any
	Number   bool     // it is compared with a number, or with a duration
	Duration bool
	Sorts    bool // the list can be sorted by it
}

// ListFields returns the fields of a list: apps, drift, deas, commands or holds. It is empty for another one.
func ListFields(list string) []ListField {
	switch list {
	case "apps":
		return listFields(appFields)
	case "drift":
		return listFields(driftFields)
	case "deas":
		return listFields(deaFields)
	case "commands":
		return listFields(commandFields)
	case "holds":
		return listFields(holdFields)
	}
	return nil
}

func listFields[T any](fields []field[T]) []ListField {
	var out []ListField
	for i := range fields {
		f := &fields[i]
		out = append(out, ListField{
			Name: f.name, About: f.about, Words: f.words, Number: f.number != nil, Duration: f.duration,
			Sorts: f.natural || f.sorts() != nil,
		})
	}
	return out
}
