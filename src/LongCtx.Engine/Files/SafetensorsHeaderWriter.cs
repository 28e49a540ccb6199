using System.Buffers;
using System.Buffers.Binary;
using System.Text.Json;

namespace LongCtx.Engine.Files;

/// <summary>A tensor to be written: the dtype by its safetensors name.</summary>
internal sealed record TensorEntry(string Name, string DataType, long[] Shape, long ByteLength);

/// <summary>Writes the front of a safetensors file; the bytes of the tensors follow in the same order, without gaps.</summary>
internal static class SafetensorsHeaderWriter
{
    /// <summary>Data begin at a multiple of this, so that a mapped file can be read as numbers.</summary>
    const int Alignment = 64;

    /// <summary>Length and header, as they stand at the beginning of the file.</summary>
    public static byte[] Write(IEnumerable<KeyValuePair<string, string>> metadata, IEnumerable<TensorEntry> tensors)
    {
        var buffer = new ArrayBufferWriter<byte>();
        buffer.Write((ReadOnlySpan<byte>)stackalloc byte[8]); // the length, once it is known
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteStartObject("__metadata__");
            foreach ((string key, string value) in metadata) json.WriteString(key, value);
            json.WriteEndObject();
            long offset = 0;
            foreach (TensorEntry tensor in tensors)
            {
                json.WriteStartObject(tensor.Name);
                json.WriteString("dtype", tensor.DataType);
                json.WriteStartArray("shape");
                foreach (long size in tensor.Shape) json.WriteNumberValue(size);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                json.WriteNumberValue(offset += tensor.ByteLength);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        int padding = (Alignment - buffer.WrittenCount % Alignment) % Alignment;
        buffer.GetSpan(padding)[..padding].Fill((byte)' ');
        buffer.Advance(padding);
        byte[] header = buffer.WrittenSpan.ToArray();
        BinaryPrimitives.WriteInt64LittleEndian(header, header.Length - 8);
        return header;
    }
}
