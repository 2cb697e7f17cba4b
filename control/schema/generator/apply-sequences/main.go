// Command apply-sequences answers, line by line, what structured-merge-diff makes of an update or an apply.
//
// Build it against the Debian package golang-k8s-sigs-structured-merge-diff-dev; sequences.py starts it.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/structured-merge-diff/v4/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v4/merge"
	"sigs.k8s.io/structured-merge-diff/v4/typed"
)

// oneVersion is a converter for objects that have one version.
type oneVersion struct{}

func (oneVersion) Convert(object *typed.TypedValue, _ fieldpath.APIVersion) (*typed.TypedValue, error) {
	return object, nil
}

func (oneVersion) IsMissingVersionError(error) bool { return false }

type manager struct {
	Set     json.RawMessage `json:"set"`
	Applied bool            `json:"applied"`
}

type request struct {
	Live     interface{}        `json:"live"`
	Managers map[string]manager `json:"managers"`
	Op       string             `json:"op"`
	Manager  string             `json:"manager"`
	Force    bool               `json:"force"`
	Object   interface{}        `json:"object"`
}

func main() {
	schema, err := os.ReadFile(os.Args[1])
	check(err)
	parser, err := typed.NewParser(typed.YAMLObject(schema))
	check(err)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<24)
	for lines.Scan() {
		var req request
		check(json.Unmarshal(lines.Bytes(), &req))
		line, err := json.Marshal(answer(parser.Type(os.Args[2]), req))
		check(err)
		fmt.Println(string(line))
	}
}

func answer(of typed.ParseableType, req request) map[string]interface{} {
	live, err := of.FromUnstructured(integers(req.Live))
	check(err)
	object, err := of.FromUnstructured(integers(req.Object))
	check(err)
	managers := fieldpath.ManagedFields{}
	for name, m := range req.Managers {
		set := fieldpath.NewSet()
		check(set.FromJSON(bytes.NewReader(m.Set)))
		managers[name] = fieldpath.NewVersionedSet(set, "v1", m.Applied)
	}
	updater := &merge.Updater{Converter: oneVersion{}}
	var result *typed.TypedValue
	if req.Op == "apply" {
		result, managers, err = updater.Apply(live, object, "v1", managers, req.Manager, req.Force)
		if err == nil && result == nil {
			result = live
		}
	} else {
		result, managers, err = updater.Update(live, object, "v1", managers, req.Manager)
	}
	if conflicts, ok := err.(merge.Conflicts); ok {
		return map[string]interface{}{"conflicts": len(conflicts)}
	}
	check(err)
	books := map[string]manager{}
	for name, owned := range managers {
		set, err := owned.Set().ToJSON()
		check(err)
		books[name] = manager{Set: set, Applied: owned.Applied()}
	}
	return map[string]interface{}{"object": result.AsValue().Unstructured(), "managers": books}
}

// integers turns the numbers of a JSON document into integers, as Kubernetes decodes them.
func integers(value interface{}) interface{} {
	switch value := value.(type) {
	case map[string]interface{}:
		for key, entry := range value {
			value[key] = integers(entry)
		}
	case []interface{}:
		for at, item := range value {
			value[at] = integers(item)
		}
	case float64:
		return int64(value)
	}
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
