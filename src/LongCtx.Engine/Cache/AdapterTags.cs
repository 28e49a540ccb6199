using System.Diagnostics;

namespace LongCtx.Engine.Cache;

/// <summary>
/// Small numbers for the adapter versions that blocks and sequences of a pool name, by digest. A number lives as long as somebody holds it
/// and is used again afterwards. 0 is the base model, which is always there.
/// </summary>
public sealed class AdapterTags
{
    public const int Base = 0;

    readonly Dictionary<string, int> _tags = new(StringComparer.Ordinal);
    readonly List<(string Digest, int References)> _entries = [("", 1)];
    readonly Stack<int> _free = [];

    /// <summary>Versions that somebody holds, the base not counted.</summary>
    public int Count => _tags.Count;

    /// <summary>Empty for the base.</summary>
    public string DigestOf(int tag) => _entries[tag].Digest;

    /// <summary>A reference to the version of that digest.</summary>
    public int Acquire(string digest)
    {
        if (digest.Length == 0) return Base;
        if (!_tags.TryGetValue(digest, out int tag))
        {
            if (!_free.TryPop(out tag))
            {
                tag = _entries.Count;
                _entries.Add(default);
            }

            _tags.Add(digest, tag);
            _entries[tag] = (digest, 0);
        }

        AddReference(tag);
        return tag;
    }

    public void AddReference(int tag)
    {
        if (tag == Base) return;
        (string digest, int references) = _entries[tag];
        _entries[tag] = (digest, references + 1);
    }

    public void Release(int tag)
    {
        if (tag == Base) return;
        (string digest, int references) = _entries[tag];
        Debug.Assert(references > 0, "a tag is released once for each reference");
        if (references > 1)
        {
            _entries[tag] = (digest, references - 1);
            return;
        }

        _tags.Remove(digest);
        _entries[tag] = default;
        _free.Push(tag);
    }
}
